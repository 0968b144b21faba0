"""The rules of the column contract, as masks over the rows of a raw table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from lorarec.data.schema import COLUMNS, EVENT, REQUIRED, accepted, is_accepted, is_text, parsed

# A timestamp in seconds reaches 1e11 in the year 5138; one in milliseconds passed it in 1973.
_UNITS = (("milliseconds", 1e11, 1e14, "1,000"), ("microseconds", 1e14, 1e17, "1,000,000"))
_NANOSECONDS = ("nanoseconds", 1e17, float("inf"), "1,000,000,000")


@dataclass(frozen=True)
class Rule:
    """One rule of one column."""

    name: str
    """With the column, such as `negative weight`."""
    column: str
    """The table's own name of the column."""
    expected: str
    """What the contract asks for."""
    broken: pl.Expr
    """Where a row breaks it; never null."""
    suspect: pl.Expr | None = None
    """Where a row may break it, which is quicker to say; None where nothing is quicker."""


def rules_of(
    schema: Mapping[str, pl.DataType],
    own: Mapping[str, str],
    events: Mapping[str, float] | None = None,
) -> list[Rule]:
    """Every rule that applies to a table's columns.

    Args:
        schema: The table's own names and types; columns of a wrong type have no rules here.
        own: Contract name → the table's own name.
        events: Event types that have a weight; None where events are not used.
    """
    rules: list[Rule] = []
    for name in COLUMNS:
        if own[name] in schema and is_accepted(name, schema[own[name]]):
            rules += _of_column(name, own[name], schema[own[name]])
    if events and own[EVENT] in schema:
        event = pl.col(own[EVENT]).cast(pl.String).str.strip_chars()
        rules.append(
            Rule(
                "unknown event",
                own[EVENT],
                f"one of {', '.join(events)}, as [data.events] has them",
                ~event.is_in(list(events)).fill_null(False),
            )
        )
    return rules


def _of_column(name: str, own: str, dtype: pl.DataType) -> list[Rule]:
    raw, value = pl.col(own), parsed(name, dtype, own)
    if name in REQUIRED:
        broken, suspect = raw.is_null(), None
        if is_text(dtype):
            # White space is below "!" or beyond ASCII; the first bytes of an id tell.
            odd = (value < "!") | (value >= "\x80")
            suspect = broken | odd.fill_null(False)
            broken = broken | (value.str.strip_chars() == "").fill_null(False)
        expected = f"{accepted(name)} in each row"
        return [Rule(f"null or empty {name}", own, expected, broken, suspect)]
    if name == "split":
        return []

    def rule(what: str, expected: str, broken: pl.Expr) -> Rule:
        return Rule(what, own, expected, broken.fill_null(False))

    rules = [rule(f"unreadable {name}", accepted(name), _given(raw, dtype) & value.is_null())]
    if name == "timestamp":
        seconds = "seconds since 1970 (UTC)"
        rules.append(rule("negative timestamp", f"{seconds}, 0 or above", value < 0))
        for unit, low, high, divisor in (*_UNITS, _NANOSECONDS):
            inside = (value > low) & (value <= high)
            rules.append(rule(f"timestamp in {unit}", f"{seconds}: divide by {divisor}", inside))
        return rules
    rules.append(rule(f"{name} that is not finite", "a finite number", ~value.is_finite()))
    rules.append(rule(f"negative {name}", "0 or above", value.is_finite() & (value < 0)))
    return rules


def _given(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Where something stands: CSV has empty text for nothing."""
    if is_text(dtype):
        return raw.is_not_null() & (raw.cast(pl.String).str.strip_chars() != "")
    return raw.is_not_null()
