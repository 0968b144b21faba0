"""The low-rank layers: a frozen part of the base plus a small delta, each with its formula.

Every delta starts at zero because exactly one of its factors does, so a fresh adapter changes
nothing, to the bit. The scale is s = alpha / √r (rank-stabilised, Kalajdzievski 2023): with it the
first step of Adam moves a row as far at every rank.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.lora.delta import Delta
from lorarec.models.base import ItemBias, linear_of


@dataclass(frozen=True)
class Appended:
    """What a base's table has gained since an adapter was trained beside its first rows.

    Those rows follow the adapter's grown ones, so that every row of then keeps its number.
    """

    known: int
    """n: rows of the table then."""
    rows: Tensor
    """int64 (m,): rows of the table, n or above, that follow; an id that the adapter has grown
    itself is left out, as it keeps the vector that was trained with it."""


class RowTable(Delta):
    """Rows of a frozen table, some of them moved by a delta, and grown rows behind them.

        e_i = E_i                for a row that is not touched
        e_i = E_i + delta_i      for a touched row
        e_i = G_(i - n)          for a grown row, n ≤ i < n + g: an id the base has never seen
        e_i = E_j                for i ≥ n + g: a row j that was appended to the base since

    Args:
        base: The frozen table E, an `nn.Embedding` of n rows, or of more that were appended.
        rows: int64 (t,), sorted and distinct: the touched rows. Only these exist here.
        grown: float32 (g, d): initial vectors of the grown rows.
        appended: Rows of the base behind the first n; None where it has no more.
    """

    def __init__(
        self, base: nn.Embedding, rows: Tensor, grown: Tensor, appended: Appended | None = None
    ) -> None:
        super().__init__()
        self.base_rows = appended.known if appended else base.num_embeddings
        """n: rows of the frozen table when the adapter was trained."""
        later = appended.rows if appended else torch.empty(0, dtype=torch.int64)
        self.register_buffer("later", later, persistent=False)  # the base's, not the adapter's
        self.later: Tensor
        object.__setattr__(self, "base", base)  # shared, and not a parameter of the adapter
        self.base: nn.Embedding
        self.register_buffer("rows", rows.clone())
        self.rows: Tensor
        self.grown = nn.Parameter(grown.clone())

    def __len__(self) -> int:
        return self.base_rows + len(self.grown) + len(self.later)

    @abstractmethod
    def delta(self, slots: Tensor) -> Tensor:
        """Deltas of touched rows by their place in `rows`: int64 (n,) → float32 (n, d)."""

    def forward(self, rows: Tensor) -> Tensor:
        table = self.base.weight.detach()
        if not len(self.grown) and not len(self.later):
            return self._known(table, rows)
        end = self.base_rows + len(self.grown)
        is_grown = rows >= self.base_rows
        if len(self.later):
            is_grown &= rows < end
        place = in_base(rows, self.base_rows, end, self.later)
        vectors = self._known(table, place, ~is_grown)
        if not len(self.grown):
            return vectors
        new = functional.embedding(rows[is_grown] - self.base_rows, self.grown, sparse=True)
        return vectors.index_put((torch.nonzero(is_grown).squeeze(-1),), new)

    def _known(self, table: Tensor, rows: Tensor, wanted: Tensor | None = None) -> Tensor:
        vectors = functional.embedding(rows, table)
        if not self.enabled or not len(self.rows):
            return vectors
        slots = torch.searchsorted(self.rows, rows.contiguous()).clamp(max=len(self.rows) - 1)
        touched = self.rows.index_select(0, slots) == rows
        if wanted is not None:
            touched = touched & wanted
        places = torch.nonzero(touched).squeeze(-1)
        if len(places) == len(rows):  # as in training; without a copy, and to the same bits
            return vectors + self.delta(slots).to(vectors.dtype)
        # Under autocast a product is bfloat16, and it is added to float32 vectors.
        delta = self.delta(slots.index_select(0, places)).to(vectors.dtype)
        return vectors.index_add(0, places, delta)


def in_base(rows: Tensor, known: int, end: int, later: Tensor) -> Tensor:
    """Rows of the base's own table: int64 (n,) → int64 (n,); for a grown row any one.

    Args:
        rows: Rows of the adapted table.
        known: Rows of the base when the adapter was trained.
        end: Those and the grown ones.
        later: int64 (m,): what follows, as rows of the base.
    """
    first = rows.clamp(max=known - 1)
    if not len(later):
        return first
    return torch.where(rows < end, first, later[(rows - end).clamp(min=0)])


class LoRAEmbedding(RowTable):
    """Row LoRA on an embedding table: delta_i = s · a_i B.

    a_i ∈ R^r, one for each touched row, starts at zero; B ∈ R^(r×d) starts normal and is shared by
    all rows of the table. Parameters: t·r + r·d, and g·d for grown rows.
    """

    def __init__(
        self,
        base: nn.Embedding,
        rows: Tensor,
        grown: Tensor,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        appended: Appended | None = None,
    ) -> None:
        super().__init__(base, rows, grown, appended)
        self.scale = alpha / math.sqrt(rank)
        self.a = nn.Parameter(torch.zeros(len(rows), rank))
        self.b = nn.Parameter(torch.randn(rank, base.embedding_dim, generator=generator))

    def delta(self, slots: Tensor) -> Tensor:
        return self.scale * (functional.embedding(slots, self.a, sparse=True) @ self.b)


class FullRows(RowTable):
    """Full fine-tuning of the touched rows: delta_i = D_i ∈ R^d, zero at the start.

    Parameters: t·d. It is the comparison every adapter must face, and the smaller one where few
    rows are touched: factors of rank r save only while t·r + r·d < t·d.
    """

    def __init__(
        self, base: nn.Embedding, rows: Tensor, grown: Tensor, appended: Appended | None = None
    ) -> None:
        super().__init__(base, rows, grown, appended)
        self.d = nn.Parameter(torch.zeros(len(rows), base.embedding_dim))

    def delta(self, slots: Tensor) -> Tensor:
        return functional.embedding(slots, self.d, sparse=True)


class LoRATransform(Delta):
    """Transform LoRA: e ← W e + s · (e P) Q, the same for every row, cold ones included.

    It is a LoRA on a last linear layer W, the identity of a model that has none. P ∈ R^(d×r) starts
    at zero and Q ∈ R^(r×d) normal with standard deviation 1/√d. Parameters: 2·d·r, whatever the
    catalogue.

    Args:
        base: The frozen layer W, or None for the identity.
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        base: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "base", base)  # shared, and not a parameter of the adapter
        self.base: nn.Linear | None
        self.scale = alpha / math.sqrt(rank)
        self.p = nn.Parameter(torch.zeros(dim, rank))
        self.q = nn.Parameter(torch.randn(rank, dim, generator=generator) / math.sqrt(dim))

    def forward(self, vectors: Tensor) -> Tensor:
        before: Tensor = vectors if self.base is None else self.base(vectors)
        if not self.enabled:
            return before
        return before + self.scale * ((vectors @ self.p) @ self.q)

    def merged(self) -> nn.Linear:
        """One layer of its own that does the same: W + s · (P Q)ᵀ."""
        before = torch.eye(len(self.p)) if self.base is None else self.base.weight.detach()
        delta = self.scale * (self.p.detach() @ self.q.detach()).T
        return linear_of(before + delta if self.enabled else before.clone())


class DomainBias(Delta):
    """The domain's own popularity, on top of the base's: b_i + β_i added to the score of item i.

    b is the base's bias (0 where it has none, and for grown items) and β_i starts at zero. Only
    items of the domain have a β_i of their own. Any other gets `cold`, a constant that training
    leaves alone: the mean β of the domain's rarest items, as set by `set_cold`.

    Args:
        base: The base's bias, frozen, or None.
        rows: int64 (t,), sorted and distinct: items with a β of their own, grown ones included.
        grown: g, how many grown items there are; needed where the base has appended ones.
        appended: Rows of the base behind its first n; None where it has no more.
    """

    def __init__(
        self, base: ItemBias | None, rows: Tensor, grown: int = 0, appended: Appended | None = None
    ) -> None:
        super().__init__()
        self._known = appended.known if appended else 0 if base is None else len(base)
        self._end = self._known + grown
        later = appended.rows if appended else torch.empty(0, dtype=torch.int64)
        self.register_buffer("later", later, persistent=False)
        self.later: Tensor
        object.__setattr__(self, "base", base)  # shared, and not a parameter of the adapter
        self.base: ItemBias | None
        self.register_buffer("rows", rows.clone())
        self.register_buffer("cold", torch.zeros(1))
        self.rows: Tensor
        self.cold: Tensor
        self.b = nn.Parameter(torch.zeros(len(rows), 1))

    def forward(self, rows: Tensor) -> Tensor:
        bias = self._base_bias(rows)
        if not self.enabled or not len(self.rows):
            return bias
        slots = torch.searchsorted(self.rows, rows.contiguous()).clamp(max=len(self.rows) - 1)
        known = self.rows[slots] == rows
        own = functional.embedding(slots, self.b, sparse=True).squeeze(-1)
        return bias + torch.where(known, own, self.cold)

    @torch.no_grad()
    def set_cold(self, rarest: Tensor) -> None:
        """Set what items without a β get: the mean β of `rarest`, rows of the domain's items."""
        if not len(self.rows) or not len(rarest):
            return
        slots = torch.searchsorted(self.rows, rarest)
        self.cold.fill_(self.b[slots].mean())

    def _base_bias(self, rows: Tensor) -> Tensor:
        if self.base is None:
            return torch.zeros(len(rows), device=rows.device)
        place = in_base(rows, self._known, self._end, self.later)
        values = self.base.table.weight.detach()[place, 0]
        has_one = rows < self._known
        if len(self.later):
            has_one = has_one | (rows >= self._end)
        return torch.where(has_one, values, torch.zeros_like(values))
