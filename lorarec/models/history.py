"""A user by what it had: the vectors of its items, pooled, so that a new user needs no row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from lorarec.models.base import linear_of
from lorarec.models.features import ranges

LOGIT_BOUND = 5.0
"""Attention's logits are kept within ± this, so that an item taken out of a sum again leaves more
of the others than of its own rounding."""


class HistoryPool(nn.Module):
    """The pooled vectors of each user's items.

        h_u = Σ_j∈N(u) w_j x_j / (Σ_j∈N(u) w_j)^p,   w_j = 1 or exp(g · x_j)

    p = 1 is the mean, and with learnt weights an attention with one query for all users; p = ½ is
    the pool of SVD++ (Koren 2008), which lets many items say more than one. g starts at zero, where
    attention is the mean. An item may be left out of a user's pool: it is subtracted from both sums
    (as FISM does, Kabbur et al. 2013), so that a training row does not see what it is to predict.

    Args:
        offsets: int64 (n + 1,): items of user row r are `items[offsets[r]:offsets[r + 1]]`.
        items: int64 (offsets[-1],): item rows, ascending and distinct within a user.
        power: p, 0 to 1.
        attention: Whether the weights are learnt.
        dim: d.
        table: Item vectors of its own, rows → (m, d); None where the pool shares the items'.
    """

    def __init__(
        self,
        offsets: Tensor,
        items: Tensor,
        power: float,
        attention: bool,
        dim: int,
        table: nn.Embedding | None = None,
    ) -> None:
        super().__init__()
        self.power = power
        self.dim = dim
        self.gate = linear_of(torch.zeros(1, dim)) if attention else None
        self.table = table
        self.register_buffer("offsets", offsets.long())
        self.register_buffer("items", items.to(torch.int32))
        self.offsets: Tensor
        self.items: Tensor

    @classmethod
    def of(
        cls,
        had: sparse.csr_matrix,
        power: float,
        attention: bool,
        dim: int,
        table: nn.Embedding | None = None,
    ) -> HistoryPool:
        """A pool of users by what they had: (n, items), any value that is not zero."""
        return cls(*entries(had), power, attention, dim, table)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def followed_by(self, had: sparse.csr_matrix | None, count: int, known: int) -> HistoryPool:
        """This pool over its first users and `count` more; all weights are shared.

        Args:
            had: (count, items): what they had; None is nothing.
            count: How many they are.
            known: Users of this pool that stay.
        """
        ends = self.offsets[1 : known + 1]
        items = self.items[: int(self.offsets[known])]
        more = torch.zeros(count + 1, dtype=torch.int64)
        new = items[:0]
        if had is not None:
            more, new = entries(had)
        longer = HistoryPool(
            torch.cat([self.offsets[:1], ends, more[1:] + len(items)]),
            torch.cat([items, new.to(items.dtype)]),
            self.power,
            attention=False,
            dim=self.dim,
            table=self.table,
        )
        longer.gate = self.gate
        return longer

    def forward(
        self, rows: Tensor, vectors_of: Callable[[Tensor], Tensor], without: Tensor | None = None
    ) -> Tensor:
        """Pools of users: int64 (n,) → float32 (n, d); zero for a user without items.

        Args:
            rows: Of the users.
            vectors_of: Item rows int64 (m,) → x, float32 (m, d).
            without: int64 (n,): an item row for each that is left out of its pool.
        """
        users, place = torch.unique(rows, return_inverse=True)
        picked, bounds = ranges(self.offsets, users)
        items, column = _distinct(self.items[picked].long())
        if not len(items):
            return torch.zeros(len(rows), self.dim, device=rows.device)
        vectors = vectors_of(items)
        weights = self._weights(vectors)
        weighted = torch.cat([vectors * weights, weights], 1)
        sums: Tensor = _BagSum.apply(weighted, column, bounds)[place]  # type: ignore[no-untyped-call]
        counts = bounds.diff()[place]
        if without is not None:
            where = torch.searchsorted(items, without).clamp(max=len(items) - 1)
            own = self._holds(rows, without)
            counts = counts - own.long()
            sums = sums - weighted[where] * own.unsqueeze(1)
        there = (counts > 0).unsqueeze(1)
        # Of an empty pool only the rounding of a subtraction is left.
        sums = torch.where(there, sums, torch.ones_like(sums))
        pooled = sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny) ** self.power
        return pooled * there

    def _weights(self, vectors: Tensor) -> Tensor:
        if self.gate is None:
            return torch.ones(len(vectors), 1, device=vectors.device)
        logits: Tensor = self.gate(vectors)
        return logits.clamp(-LOGIT_BOUND, LOGIT_BOUND).exp()

    def _holds(self, rows: Tensor, items: Tensor) -> Tensor:
        """Whether each user has the item: bool (n,), by halving each user's stretch."""
        low, high = self.offsets[rows], self.offsets[rows + 1]
        end, last = high, max(len(self.items) - 1, 0)
        for _ in range(int((high - low).max()).bit_length()):
            middle = (low + high) // 2
            below = (self.items[middle.clamp(max=last)] < items) & (low < high)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return (low < end) & (self.items[low.clamp(max=last)] == items)


def entries(had: sparse.csr_matrix) -> tuple[Tensor, Tensor]:
    """Who had what: int64 (n + 1,) offsets, and int64 item rows, ascending within a user."""
    matrix = had.tocsr().copy()
    matrix.eliminate_zeros()
    matrix.sum_duplicates()
    matrix.sort_indices()
    offsets, items = (part.astype(np.int64) for part in (matrix.indptr, matrix.indices))
    return torch.from_numpy(offsets), torch.from_numpy(items)


def _distinct(items: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct items, ascending, and the place of each given one among them."""
    if not len(items):
        return items, items
    span = int(items.max()) + 1
    if span > 4 * len(items):
        distinct, place = torch.unique(items, return_inverse=True)
        return distinct, place
    # A mark an item is ten times faster than sorting where most items occur.
    there = torch.zeros(span, dtype=torch.bool, device=items.device)
    there[items] = True
    return torch.nonzero(there).squeeze(1), (there.cumsum(0) - 1)[items]


class _BagSum(torch.autograd.Function):
    """Sums of rows by bag: (m, d), int64 (k,) rows and int64 (n + 1,) bounds → (n, d).

    The gradient is the same sum over the transposed bags: several times faster on the CPU than what
    autograd makes of `embedding_bag`, and in a fixed order.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, column: Tensor, bounds: Tensor) -> Tensor:
        ctx.save_for_backward(column, bounds)
        ctx.count = len(rows)
        return functional.embedding_bag(column, rows, bounds[:-1], mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        column, bounds = ctx.saved_tensors
        bag = torch.repeat_interleave(
            torch.arange(len(grad), device=grad.device), bounds.diff(), output_size=len(column)
        )
        order = torch.sort(column, stable=True).indices
        starts = functional.pad(torch.bincount(column, minlength=ctx.count).cumsum(0), (1, 0))
        summed = functional.embedding_bag(bag[order], grad.contiguous(), starts[:-1], mode="sum")
        return summed, None, None
