"""How much is in each part of a split: rows, users, items, cold ones and the time between."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import BaseModel, ConfigDict

PARTS = ("train", "valid", "test")


class PartCounts(BaseModel):
    """What one part of a split holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    """Interactions."""
    users: int
    """Distinct users."""
    items: int
    """Distinct items."""
    cold_users: int
    """Users without a train row in any domain."""
    cold_items: int
    """Items without a train row in any domain."""
    first: int | None = None
    """Second of the first row; None without timestamps."""
    last: int | None = None
    """Second of the last row."""


def count_parts(frame: pl.DataFrame) -> dict[str, PartCounts]:
    """Rows, users, items and cold ones of every part, train, valid and test first.

    Args:
        frame: Logs with `split` set.
    """
    train = frame.filter(pl.col("split") == "train").lazy()
    known = {c: train.select(c, _known=pl.lit(True)).unique() for c in ("user_id", "item_id")}
    flagged = (
        frame.lazy()
        .select("user_id", "item_id", "split", "timestamp")
        .join(known["user_id"].rename({"_known": "_user"}), on="user_id", how="left")
        .join(known["item_id"].rename({"_known": "_item"}), on="item_id", how="left")
    )
    counted = (
        flagged.group_by("split")
        .agg(
            rows=pl.len(),
            users=pl.col("user_id").n_unique(),
            items=pl.col("item_id").n_unique(),
            cold_users=pl.col("user_id").filter(pl.col("_user").is_null()).n_unique(),
            cold_items=pl.col("item_id").filter(pl.col("_item").is_null()).n_unique(),
            first=pl.col("timestamp").min(),
            last=pl.col("timestamp").max(),
        )
        .collect()
    )
    return in_order({row.pop("split"): PartCounts(**row) for row in counted.to_dicts()})


def in_order(counts: Mapping[str, PartCounts]) -> dict[str, PartCounts]:
    """Parts with train, valid and test first, then others by name."""
    order = [p for p in PARTS if p in counts] + sorted(set(counts) - set(PARTS))
    return {name: counts[name] for name in order}
