"""Which rows of a table are whose, where several ranks share a table between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """Rows r, r + n, r + 2n and so on of a table: those of rank r of n.

    Neighbours lie on different ranks. A vocabulary has its ids in the order in which they came, and
    what came first is asked for most: of blocks, the first rank would have most of the work.
    """

    rank: int = 0
    ranks: int = 1

    def count(self, rows: int) -> int:
        """Own rows of a table of so many."""
        return len(range(self.rank, rows, self.ranks))

    def of(self, table: Tensor) -> Tensor:
        """Own rows of a whole table, (rows, ...): a view."""
        return table[self.rank :: self.ranks]

    def meets(self, other: Shard) -> bool:
        """Whether a shard of another number of ranks can have rows of this one."""
        return (self.rank - other.rank) % math.gcd(self.ranks, other.ranks) == 0

    def taken(self, parts: Mapping[Shard, Tensor], rows: int) -> Tensor:
        """Own rows of a table that lies in shards of another number of ranks.

        Args:
            parts: Shards of one division, at least one, (own rows of each, ...). What a shard that
                is not among them would have is 0.
            rows: Of the whole table.
        """
        like = next(iter(parts.values()))
        found = like.new_zeros(self.count(rows), *like.shape[1:])
        wanted = self.of(torch.arange(rows))
        for shard, part in parts.items():
            there = torch.nonzero(wanted % shard.ranks == shard.rank).squeeze(1)
            place = torch.div(wanted[there], shard.ranks, rounding_mode="floor")
            found.index_copy_(0, there, part.index_select(0, place))
        return found


@dataclass(frozen=True)
class Spread:
    """The tables of a training that lie in shards, and which of their rows are here."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Name of a parameter → rows of the whole table."""
    shard: Shard = field(default_factory=Shard)

    def table_of(self, key: str) -> str | None:
        """Whose rows a tensor of a checkpoint has, by its name there; None of no such table."""
        kind, _, name = key.partition("/")
        if kind == "optimizer":
            name = name.removeprefix("rows/").rpartition("/")[0]
        return name if name in self.rows else None


TOGETHER = Spread()
"""No table lies in shards."""
