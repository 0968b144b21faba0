"""What the parts of a split hold, counted over the shards of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.splits import PartCounts, SplitRecord, in_order

Array = np.ndarray[Any, Any]


def count_shards(
    shards: Iterable[pl.DataFrame], split: SplitRecord, users: int, items: int
) -> dict[str, PartCounts]:
    """Rows, users, items, cold ones and time range of every part, train, valid and test first.

    Args:
        shards: Frames of `shards.ROWS`.
        split: By time or by column.
        users: Rows of the user vocabulary.
        items: Rows of the item vocabulary.
    """
    parts: dict[str, _Part] = {}
    for shard in shards:
        for name, rows in _by_part(shard, split):
            parts.setdefault(name, _Part(users, items)).add(rows)
    nobody = _Part(users, items)
    train = parts.get("train", nobody)
    return in_order({name: part.counts(train) for name, part in parts.items()})


def _by_part(shard: pl.DataFrame, split: SplitRecord) -> list[tuple[str, pl.DataFrame]]:
    if split.used == "column":
        return [(str(key[0]), rows) for key, rows in shard.group_by("split", maintain_order=True)]
    cuts = [t for t in (split.t_valid, split.t_test) if t is not None]
    names = ["train", *(["valid"] if split.t_valid is not None else [])]
    names += ["test"] if split.t_test is not None else []
    place = np.searchsorted(cuts, shard["timestamp"].to_numpy(), side="right")
    found = ((name, shard.filter(place == n)) for n, name in enumerate(names))
    return [(name, rows) for name, rows in found if rows.height]


class _Part:
    """Who and what is in one part, as one flag an id."""

    def __init__(self, users: int, items: int) -> None:
        self.rows = 0
        self.seen: dict[str, Array] = {"user": np.zeros(users, bool), "item": np.zeros(items, bool)}
        self.times: list[int] = []

    def add(self, rows: pl.DataFrame) -> None:
        self.rows += rows.height
        for name, seen in self.seen.items():
            seen[rows[name].to_numpy()] = True
        if rows["timestamp"].null_count() < rows.height:
            first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
            self.times = [min([first, *self.times]), max([last, *self.times])]

    def counts(self, train: _Part) -> PartCounts:
        cold = {name: int((seen & ~train.seen[name]).sum()) for name, seen in self.seen.items()}
        return PartCounts(
            rows=self.rows,
            users=int(self.seen["user"].sum()),
            items=int(self.seen["item"].sum()),
            cold_users=cold["user"],
            cold_items=cold["item"],
            first=self.times[0] if self.times else None,
            last=self.times[1] if self.times else None,
        )
