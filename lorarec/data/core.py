"""The k-core of the train rows: users and items with few of them leave training.

A row of an id that is not in the core keeps its place in the logs under a part of its own, so that
it is counted, and is still seen by the filter of what a user has had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from lorarec.data.prepared.encoding import IdEncoder
from lorarec.errors import DataError

Array = np.ndarray[Any, Any]
OUTSIDE = "outside-core"
"""The part of train rows whose user or item is not in the core."""
_BLOCK = 1 << 22


class Core(BaseModel):
    """What the search for the core took out of train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int
    """Users with a train row that are not in the core."""
    items: int
    """Items with a train row that are not in the core."""
    rows: int
    """Train rows of theirs: they are in the part `outside-core`."""
    rounds: int
    """Rounds until no more ids fell."""
    cold_rows: dict[str, int] = Field(default_factory=dict)
    """Rows of other parts whose user or item fell out of train: they stay there, cold."""

    def sentence(self, min_user_rows: int, min_item_rows: int) -> str:
        """What was taken out, for the screen."""
        cold = ", ".join(f"{rows:,} in {part}" for part, rows in sorted(self.cold_rows.items()))
        return (
            f"{self.users:,} users and {self.items:,} items are outside of the core of "
            f"{min_user_rows} train rows a user and {min_item_rows} an item: their {self.rows:,} "
            f"train rows do not train ({self.rounds} rounds). Rows of theirs that stay held out, "
            f"cold: {cold or 'none'}."
        )


def k_core(
    user: Array, item: Array, sizes: tuple[int, int], min_user_rows: int, min_item_rows: int
) -> tuple[Array, Array, int]:
    """The largest set of rows in which every user and every item has enough of them.

    Users and items below their minimum are taken out together with their rows, again and again,
    until there are none; in which order does not matter (Seidman 1983, for two kinds of nodes).

    Args:
        user: Row of the user, unsigned or int64 (n,).
        item: Row of the item, unsigned or int64 (n,).
        sizes: How many users and items there are rows of.
        min_user_rows: Rows that a user must have; 0 and 1 ask for nothing.
        min_item_rows: Rows that an item must have; 0 and 1 ask for nothing.

    Returns:
        Users and items that have rows and fall: bool (users,) and (items,); and the rounds.
    """
    there = (_counts(user, sizes[0]) > 0, _counts(item, sizes[1]) > 0)
    rounds = 0
    while True:
        users, items = _counts(user, sizes[0]), _counts(item, sizes[1])
        low_user, low_item = users < min_user_rows, items < min_item_rows
        falls = low_user[user] | low_item[item]
        if not falls.any():
            return there[0] & (users == 0), there[1] & (items == 0), rounds
        user, item = user[~falls], item[~falls]
        rounds += 1


def _counts(rows: Array, size: int) -> Array:
    """`np.bincount`, without a copy of everything as int64."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):
        counts += np.bincount(rows[start : start + _BLOCK], minlength=size)
    return counts


def marked(split: pl.Series, user_falls: Array, item_falls: Array) -> tuple[pl.Series, Core]:
    """Parts with train rows of fallen ids in a part of their own.

    Args:
        split: Part of each row (n,), never null.
        user_falls: Whether the row's user fell, bool (n,).
        item_falls: Whether the row's item fell, bool (n,).

    Returns:
        The parts, and the rows of each kind; its users, items and rounds are 0.
    """
    falls = pl.Series(user_falls | item_falls)
    counts = dict(split.filter(falls).value_counts().iter_rows())
    rows = counts.pop("train", 0)
    parts = pl.DataFrame({"split": split, "falls": falls}).select(
        pl.when(pl.col("falls") & (pl.col("split") == "train"))
        .then(pl.lit(OUTSIDE))
        .otherwise(pl.col("split"))
        .alias("split")
    )["split"]
    core = Core(users=0, items=0, rows=rows, rounds=0, cold_rows=dict(sorted(counts.items())))
    return parts, core


def in_core(
    frame: pl.DataFrame, min_user_rows: int, min_item_rows: int
) -> tuple[pl.DataFrame, Core]:
    """Logs with the train rows outside of the core in the part `outside-core`.

    Args:
        frame: Canonical logs, split.
        min_user_rows: Train rows that a user must have in all domains together.
        min_item_rows: Train rows that an item must have in all domains together.

    Raises:
        DataError: No train row is left.
    """
    encoders = IdEncoder(), IdEncoder()
    user = encoders[0].encode(frame["user_id"])
    item = encoders[1].encode(frame["item_id"])
    sizes = len(encoders[0]), len(encoders[1])
    train = (frame["split"] == "train").to_numpy()
    users, items, rounds = k_core(user[train], item[train], sizes, min_user_rows, min_item_rows)
    parts, core = marked(frame["split"], users[user], items[item])
    found = {"users": int(users.sum()), "items": int(items.sum()), "rounds": rounds}
    check_left(int(train.sum()), core.rows, min_user_rows, min_item_rows)
    return frame.with_columns(parts), core.model_copy(update=found)


def check_left(train: int, outside: int, min_user_rows: int, min_item_rows: int) -> None:
    """Refuse minimums that leave nothing to train on.

    Raises:
        DataError: All train rows are outside of the core.
    """
    if train and outside == train:
        raise DataError(
            f"No train row of {train:,} is in the core of [data] min_user_rows {min_user_rows} and "
            f"min_item_rows {min_item_rows}. Expected minimums that leave something to train on; "
            f"lower them."
        )


def added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """Counts by part of two lots of rows taken together."""
    return {part: a.get(part, 0) + b.get(part, 0) for part in sorted({*a, *b})}
