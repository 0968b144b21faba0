"""A table of which every rank holds some rows, looked up and trained as if all were here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.training.distributed import Ranks
from lorarec.training.hybrid import Norm, gradient_norm
from lorarec.training.lookups import distinct
from lorarec.training.optimizers import coalesced
from lorarec.training.sharding import TOGETHER, Shard, Spread

BLOCK = 2**24
"""Numbers of all ranks that are on the way at once while a table is handed out or collected."""


@dataclass(frozen=True)
class _Lookup:
    """What a rank asked of the others in one lookup, and they of it."""

    vectors: Tensor
    """float (u, d): what came, in the order of the owners; gradients gather here."""
    sent: list[int]
    """Rows that were asked of each rank, u together."""
    wanted: Tensor
    """int64 (w,): own rows that were asked for, in the order of the ranks that did."""
    received: list[int]
    """How many each of them asked for, w together."""


class ShardedTable(nn.Module):
    """Stands for a table (V, d) of whose rows this rank holds its `Shard`.

    A lookup takes three messages: how many rows each rank asks of each, their numbers, and their
    vectors back. Each distinct row is asked for once. All ranks must look up the same tables in the
    same order, validation included. Gradients wait here until `settle` sends them to the owners,
    where they are row-sparse and those of all ranks, one after the other, as `exchanged` makes them
    for a table that all have: a training ends as it would with one, but for rounding.

    Args:
        own: float32 (own rows, d), not copied.
        rows: V.
        ranks: Those that hold the table together.
    """

    def __init__(self, own: Tensor, rows: int, ranks: Ranks) -> None:
        super().__init__()
        self.weight = nn.Parameter(own)
        self.shard = Shard(ranks.rank, ranks.size)
        self._rows, self._ranks = rows, ranks
        self._lookups: list[_Lookup] = []

    def __len__(self) -> int:
        return self._rows

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors of rows of the whole table: int64 (n,) → float32 (n, d).

        Raises:
            RankError: Another rank is gone.
        """
        ranks, count = self._ranks, self.shard.ranks
        found, where = distinct(rows, len(self))
        owner = found % count
        order = torch.argsort(owner, stable=True)
        sent = torch.bincount(owner, minlength=count).tolist()
        received = [int(theirs[ranks.rank]) for theirs in ranks.numbers(sent)]
        asked = torch.div(found, count, rounding_mode="floor").index_select(0, order)
        wanted = ranks.deal(asked, sent, received)
        vectors = ranks.deal(self.weight.detach().index_select(0, wanted), received, sent)
        if torch.is_grad_enabled() and self.weight.requires_grad:
            vectors.requires_grad_()
            self._lookups.append(_Lookup(vectors, sent, wanted, received))
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        # Sparse, as the gradient of a table that all have: only what was looked up is added up.
        return functional.embedding(place.index_select(0, where), vectors, sparse=True)

    def forget(self) -> None:
        """Drop gradients that were not settled."""
        self._lookups.clear()

    def settle(self) -> None:
        """Send the gradients of all lookups to the owners: what they make is `weight.grad`."""
        if not self._lookups:
            return
        grads = [
            self._ranks.deal(_summed(lookup.vectors), lookup.sent, lookup.received)
            for lookup in self._lookups
        ]
        self.weight.grad = torch.sparse_coo_tensor(
            torch.cat([lookup.wanted for lookup in self._lookups]).unsqueeze(0),
            torch.cat(grads),
            self.weight.shape,
            check_invariants=False,
        )
        self.forget()

    def collected(self) -> Tensor | None:
        """The whole table, float32 (V, d), on the first rank's CPU; None on the others."""
        own, count = self.weight.detach(), self.shard.ranks
        whole = torch.empty(len(self), own.shape[1]) if self._ranks.first else None
        for begin, end in _blocks(len(self), own.shape[1], count):
            block = torch.zeros(end - begin, own.shape[1])
            part = own[begin:end].cpu()
            block[: len(part)] = part
            parts = self._ranks.collect(block)
            for rank, found in enumerate(parts if whole is not None else ()):
                rows = whole[begin * count + rank : end * count : count]  # type: ignore[index]
                rows.copy_(found[: len(rows)])
        return whole


def handed_out(whole: Tensor | None, rows: int, dim: int, ranks: Ranks) -> ShardedTable:
    """A table that the first rank has, spread over all of them.

    Args:
        whole: float32 (rows, dim) on the CPU; the first rank's counts, others need none.
        rows: V.
        dim: d.
        ranks: All must call this.
    """
    own = torch.empty(Shard(ranks.rank, ranks.size).count(rows), dim)
    for begin, end in _blocks(rows, dim, ranks.size):
        parts = None
        if ranks.first:
            assert whole is not None
            parts = torch.zeros(ranks.size, end - begin, dim)
            for rank, part in enumerate(parts):
                found = whole[begin * ranks.size + rank : end * ranks.size : ranks.size]
                part[: len(found)] = found
        block = ranks.hand_out(parts, (end - begin, dim))
        own[begin:end] = block[: len(own[begin:end])]
    return ShardedTable(own, rows, ranks)


def sharded_tables(
    modules: Iterable[nn.Module], parameters: Mapping[str, nn.Parameter]
) -> dict[str, ShardedTable]:
    """The sharded tables among what is trained, by the names of their parameters."""
    found = {
        id(module.weight): module
        for whole in modules
        for module in whole.modules()
        if isinstance(module, ShardedTable)
    }
    return {name: found[id(p)] for name, p in parameters.items() if id(p) in found}


def spread_of(tables: Mapping[str, ShardedTable]) -> Spread:
    """Which rows of these tables are here."""
    rows = {name: len(table) for name, table in tables.items()}
    return Spread(rows, next(iter(tables.values())).shard) if tables else TOGETHER


def norm_over(tables: Mapping[str, ShardedTable], ranks: Ranks) -> Norm:
    """The norm of a step's gradients where those of some tables lie on all ranks.

    What is in shards is added up over the ranks, what all have is counted once; in float64, and the
    same bits on every rank.
    """
    spread = {id(table.weight) for table in tables.values()}

    def norm(parameters: Sequence[nn.Parameter]) -> Tensor:
        own = gradient_norm([p for p in parameters if id(p) in spread])
        common = gradient_norm([p for p in parameters if id(p) not in spread])
        squares = [float(common) ** 2]
        squares += [theirs for (theirs,) in ranks.numbers([float(own) ** 2])]
        return torch.tensor(math.sqrt(sum(squares)), device=own.device)

    return norm


def _summed(vectors: Tensor) -> Tensor:
    """Gradients of vectors that were each looked up at least once: float (u, d)."""
    if vectors.grad is None:
        return torch.zeros_like(vectors, requires_grad=False)
    return coalesced(vectors.grad)[1]


def _blocks(rows: int, dim: int, ranks: int) -> list[tuple[int, int]]:
    """Stretches of every rank's own rows, from the first to behind the last."""
    longest, step = Shard(0, ranks).count(rows), max(1, BLOCK // (dim * ranks))
    return [(begin, min(begin + step, longest)) for begin in range(0, longest, step)]
