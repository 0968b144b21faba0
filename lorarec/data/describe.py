"""What logs hold: sizes, density and time range of each domain, and what the domains share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse


@dataclass(frozen=True)
class DomainSummary:
    """Counts of one domain, or of all taken together."""

    domain: str
    rows: int
    """Interactions, repeats included."""
    users: int
    """Distinct users."""
    items: int
    """Distinct items."""
    repeated: int
    """Rows beyond the first of their (user, item, domain)."""
    density: float
    """Distinct (user, item) / (users * items), a fraction of 1."""
    first: str | None
    """Time of the first interaction, ISO 8601 UTC; None without timestamps."""
    last: str | None
    """Time of the last interaction, ISO 8601 UTC; None without timestamps."""


@dataclass(frozen=True)
class Description:
    """All domains of some logs. Overlaps count what two domains share; the diagonal is its own."""

    total: DomainSummary
    """All domains as one; the same pair in two domains counts once in the density."""
    domains: tuple[DomainSummary, ...]
    """One for each domain, most rows first."""
    user_overlap: tuple[tuple[int, ...], ...]
    """Shared users, in the order of `domains` both ways."""
    item_overlap: tuple[tuple[int, ...], ...]
    """Shared items, in the order of `domains` both ways."""

    def names(self) -> list[str]:
        """The domains' names, in the order of `domains`."""
        return [summary.domain for summary in self.domains]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; overlaps as {domain: {domain: count}}."""
        names = self.names()
        overlaps = {"user_overlap": self.user_overlap, "item_overlap": self.item_overlap}
        tables = {
            key: {a: dict(zip(names, row, strict=True)) for a, row in zip(names, rows, strict=True)}
            for key, rows in overlaps.items()
        }
        return {
            "total": asdict(self.total),
            "domains": [asdict(summary) for summary in self.domains],
            **tables,
        }


def describe(frame: pl.DataFrame) -> Description:
    """Count canonical logs.

    Args:
        frame: Canonical logs (`schema.SCHEMA`).

    Returns:
        Sizes by domain and overlaps between domains.
    """
    pairs = frame.lazy().select("domain", "user_id", "item_id").unique()
    distinct = pairs.group_by("domain").agg(pairs=pl.len()).collect()
    counted = (
        frame.lazy()
        .group_by("domain")
        .agg(*_counts())
        .collect()
        .join(distinct, on="domain", how="left")
        .sort(["rows", "domain"], descending=[True, False])
    )
    everything = frame.select(
        pl.lit("all").alias("domain"),
        *_counts(),
        pl.struct("user_id", "item_id").n_unique().alias("pairs"),
    )
    domains = tuple(_summary(row, row["rows"] - row["pairs"]) for row in counted.to_dicts())
    names = [summary.domain for summary in domains]
    return Description(
        total=_summary(everything.to_dicts()[0], sum(s.repeated for s in domains)),
        domains=domains,
        user_overlap=_overlap(frame, "user_id", names),
        item_overlap=_overlap(frame, "item_id", names),
    )


def _counts() -> list[pl.Expr]:
    return [
        pl.len().alias("rows"),
        pl.col("user_id").n_unique().alias("users"),
        pl.col("item_id").n_unique().alias("items"),
        pl.col("timestamp").min().alias("first"),
        pl.col("timestamp").max().alias("last"),
    ]


def _summary(row: dict[str, Any], repeated: int) -> DomainSummary:
    cells = row["users"] * row["items"]
    return DomainSummary(
        domain=row["domain"],
        rows=row["rows"],
        users=row["users"],
        items=row["items"],
        repeated=repeated,
        density=row["pairs"] / cells if cells else 0.0,
        first=_iso(row["first"]),
        last=_iso(row["last"]),
    )


def _iso(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _overlap(frame: pl.DataFrame, column: str, names: list[str]) -> tuple[tuple[int, ...], ...]:
    """X^T X of the 0/1 matrix ids by domains, in the order of `names`."""
    present = frame.select(column, "domain").unique()
    domain = present["domain"].cast(pl.Enum(names)).to_physical().to_numpy()
    ids = present[column].rank("dense").to_numpy() - 1
    ones = np.ones(len(present), dtype=np.int64)
    matrix = sparse.csr_matrix((ones, (ids, domain)), shape=(ids.max() + 1, len(names)))
    shared = (matrix.T @ matrix).toarray()
    return tuple(tuple(int(v) for v in row) for row in shared)
