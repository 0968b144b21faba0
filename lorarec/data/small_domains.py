"""Domains with so few rows that an adapter of theirs has little to learn from."""

from __future__ import annotations

from collections.abc import Mapping

_NAMED = 10


def small_domains(rows: Mapping[str, int], least: int) -> dict[str, int]:
    """Domains with fewer rows than the threshold, smallest first.

    Args:
        rows: Rows of each domain.
        least: `[data] min_domain_rows`; 0 finds none.
    """
    small = [(count, name) for name, count in rows.items() if count < least]
    return {name: count for count, name in sorted(small)}


def too_small(small: Mapping[str, int], least: int, what: str = "rows") -> str | None:
    """A sentence that names them with their sizes and the threshold; None where there are none.

    Args:
        small: From `small_domains`.
        least: The threshold.
        what: What was counted, such as `train rows`.
    """
    if not small:
        return None
    shown = ", ".join(f"{name} ({rows:,})" for name, rows in list(small.items())[:_NAMED])
    more = f" and {len(small) - _NAMED:,} more" if len(small) > _NAMED else ""
    one = len(small) == 1
    return (
        f"{len(small):,} {'domain has' if one else 'domains have'} fewer than {least:,} {what}, "
        f"too few to adapt to with confidence: {shown}{more}. Nothing is left out; [data] "
        f"min_domain_rows is the threshold."
    )
