"""What the parts of a split hold, counted over the shards of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.part_counts import PartCounts, in_order
from lorarec.data.splits import SplitRecord
from lorarec.data.timeline import LATER

Array = np.ndarray[Any, Any]


def mark_shards(
    shards: Iterable[pl.DataFrame],
    split: SplitRecord,
    users: int,
    items: int,
    parts: dict[str, Part] | None = None,
) -> dict[str, Part]:
    """Who and what is in every part. The next shard is read while one is marked.

    Args:
        shards: Frames of `shards.ROWS`.
        split: By time or by column.
        users: Rows of the user vocabulary.
        items: Rows of the item vocabulary.
        parts: What is added to, where there is something already.
    """
    parts = {} if parts is None else parts
    for shard in _one_ahead(shards):
        for name, rows in by_part(shard, split):
            parts.setdefault(name, Part(users, items)).add(rows)
    return parts


def counts_of(parts: Mapping[str, Part]) -> dict[str, PartCounts]:
    """How much is in every part, train, valid and test first."""
    if not parts:
        return {}
    train = parts.get("train") or Part(*(len(s) for s in next(iter(parts.values())).seen.values()))
    return in_order({name: part.counts(train) for name, part in parts.items()})


def _one_ahead(shards: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    following = iter(shards)
    with ThreadPoolExecutor(1, "lorarec-read") as pool:
        ready = pool.submit(next, following, None)
        while (shard := ready.result()) is not None:
            ready = pool.submit(next, following, None)
            yield shard


def by_part(shard: pl.DataFrame, split: SplitRecord) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each part that has some, by its name.

    Args:
        shard: Rows of `shards.ROWS`.
        split: By time or by column.
    """
    if split.used == "column":
        return [(str(key[0]), rows) for key, rows in shard.group_by("split", maintain_order=True)]
    begun = (("valid", split.t_valid), ("test", split.t_test), (LATER, split.t_end))
    names = ["train", *(name for name, second in begun if second is not None)]
    place = np.searchsorted(split.cutoffs, shard["timestamp"].to_numpy(), side="right")
    found = ((name, shard.filter(place == n)) for n, name in enumerate(names))
    return [(name, rows) for name, rows in found if rows.height]


class Part:
    """Who and what is in one part, as one flag an id."""

    def __init__(self, users: int, items: int) -> None:
        self.rows = 0
        self.seen: dict[str, Array] = {"user": np.zeros(users, bool), "item": np.zeros(items, bool)}
        self.times: list[int] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows of `shards.ROWS`."""
        self.rows += rows.height
        for name, seen in self.seen.items():
            seen[rows[name].to_numpy()] = True
        if rows["timestamp"].null_count() < rows.height:
            first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
            self.times = [min([first, *self.times]), max([last, *self.times])]

    def counts(self, train: Part) -> PartCounts:
        """What was taken in, and who and what of it has no row in train."""
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
