"""Two towers: a user and an item by id, features and history, each made a vector on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor, nn

from lorarec.models.base import (
    BaseModel,
    ItemBias,
    Similarity,
    as_rows,
    compared,
    linear_of,
    plain_tables,
    table_of,
)
from lorarec.models.features import FeatureEmbedding
from lorarec.models.history import HistoryPool
from lorarec.models.tower import Tower
from lorarec.record import Record

SLOTS = ("users", "items", "transform", "bias", "user_tower", "item_tower")
"""The named modules that `replaced` replaces."""
TRAINING_ONLY = ("dropout", "id_dropout")
"""What of the shape does not decide how the model scores."""
HistoryKind = Literal["none", "mean", "attention"]


class TowerConfig(Record):
    """The shape of two towers: all that their numbers do not say themselves."""

    layers: tuple[int, ...] = ()
    """Widths of each tower's hidden layers."""
    layer_norm: bool = True
    """Whether hidden layers are normalised."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of hidden values dropped in training."""
    id_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of rows that training looks at without their id."""
    history: HistoryKind = "none"
    """How a user's items are pooled."""
    history_power: float = Field(default=0.5, ge=0.0, le=1.0)
    """p of the pool."""
    history_table: Literal["shared", "separate"] = "shared"
    """Whether the pool has the items' own vectors or vectors of a table beside it."""


@dataclass(frozen=True, eq=False)
class Cold:
    """Users or items without a row in the tables; their rows are behind the last one."""

    places: Tensor
    """int64 (c,): the place of each among the features; any where there are none."""
    history: sparse.csr_matrix | None = None
    """(c, items), not zero where a user had an item."""
    bias: float = 0.0
    """What each item has for a bias."""

    def __len__(self) -> int:
        return len(self.places)


NOBODY = Cold(torch.zeros(0, dtype=torch.int64))


class TwoTower(BaseModel):
    """Scores by vectors that two towers make of what is known of a user and of an item.

        x_u = E_u + f(features of u) + pool of the items that u had
        x_i = E_i + f(features of i)
        score(u, i) = ⟨norm t_U(x_u) / τ, norm W t_I(x_i)⟩ + b_i

    for cosine, and without norm and τ for dot product. t are `Tower`s, and W, the module
    `transform`, is a linear layer that starts at the identity: without features, layers and history
    the model scores as matrix factorization over the same tables, to the bit.

    A row behind the base's own is a grown one of an adapter, whose vector is all that is known of
    it, or behind those a cold one (`with_cold`), which has features and a history and no vector.
    Histories stay those of the base: an adapter's deltas of items do not reach users through them.

    Args:
        users: Rows → (n, d), such as `nn.Embedding`.
        items: Rows → (m, d).
        dim: d.
        known: n and m of the base by `users` and `items`: rows with features and a history.
        config: Their shape.
        similarity: `cosine` or `dot`.
        temperature: τ of the cosine.
        user_tower: Features of users and t_U.
        item_tower: Features of items and t_I.
        transform: W.
        history: Pools a user's items; None pools nothing.
        history_items: What a history without a table of its own reads: the base's items.
        history_features: The features that it reads besides: the base's; None is the item tower's.
        bias: Item rows → (n,), or None.
        cold: Cold rows by `users` and `items`.
    """

    def __init__(
        self,
        users: nn.Module,
        items: nn.Module,
        dim: int,
        known: Mapping[str, int],
        config: TowerConfig,
        similarity: Similarity,
        temperature: float,
        user_tower: Tower,
        item_tower: Tower,
        transform: nn.Module,
        history: HistoryPool | None,
        history_items: nn.Module,
        history_features: nn.Module | None = None,
        bias: nn.Module | None = None,
        cold: Mapping[str, Cold] | None = None,
    ) -> None:
        super().__init__()
        self.users, self.items = users, items
        self.user_tower, self.item_tower = user_tower, item_tower
        self.history = history
        self.transform = transform
        self.bias = bias
        self.config = config
        self.similarity: Similarity = similarity
        self.temperature = temperature
        self.known = dict(known)
        self.cold = dict(cold) if cold else {"users": NOBODY, "items": NOBODY}
        self._dim = dim
        # Shared: it is the base's items, or under an adapter what they were.
        object.__setattr__(self, "_history_items", history_items)
        self._history_items: nn.Module
        object.__setattr__(self, "_history_features", history_features or item_tower.features)
        self._history_features: nn.Module | None
        self.eval()

    @classmethod
    def from_tables(
        cls,
        users: Tensor,
        items: Tensor,
        similarity: Similarity,
        temperature: float,
        config: TowerConfig,
        history: sparse.csr_matrix | None = None,
        user_features: FeatureEmbedding | None = None,
        item_features: FeatureEmbedding | None = None,
        bias: Tensor | None = None,
        seed: int = 0,
        known: Mapping[str, int] | None = None,
    ) -> TwoTower:
        """A model that begins where matrix factorization over the same tables does.

        Args:
            users: float32 (n, d).
            items: float32 (m, d).
            similarity: `cosine` or `dot`.
            temperature: τ of the cosine.
            config: Layers, history and so on.
            history: (known users, known items), not zero where a user had an item in train; None
                where no user had any.
            user_features: Features of the users, theirs first.
            item_features: Features of the items, theirs first.
            bias: float32 (m, 1), or None for a model without.
            seed: Of the hidden layers' weights.
            known: How many `users` and `items` can have features and a history; the others, at the
                tables' ends, are their vectors alone. None is all.
        """
        generator = torch.Generator().manual_seed(seed)
        dim = users.shape[1]
        known = known or {"users": len(users), "items": len(items)}
        item_table = table_of(items)
        shape = (dim, config.layers, config.layer_norm, config.dropout)
        pool = None
        if config.history != "none":
            nothing = sparse.csr_matrix((known["users"], known["items"]))
            own = items[: known["items"]].clone() if config.history_table == "separate" else None
            pool = HistoryPool.of(
                nothing if history is None else history,
                config.history_power,
                config.history == "attention",
                dim,
                None if own is None else table_of(own),
            )
        return cls(
            table_of(users),
            item_table,
            dim,
            known,
            config,
            similarity,
            temperature,
            user_tower=Tower(*shape, user_features, generator),
            item_tower=Tower(*shape, item_features, generator),
            transform=linear_of(torch.eye(dim)),
            history=pool,
            history_items=item_table,
            bias=None if bias is None else ItemBias(bias),
        )

    @property
    def dim(self) -> int:
        return self._dim

    def user_inputs(self, rows: Tensor, without: Tensor | None = None) -> Tensor:
        return self._inputs("users", rows, without)

    def item_inputs(self, rows: Tensor) -> Tensor:
        return self._inputs("items", rows)

    def user_vectors(self, rows: Tensor, without: Tensor | None = None) -> Tensor:
        vectors = compared(self.user_tower(self.user_inputs(rows, without)), self.similarity)
        return vectors / self.temperature if self.similarity == "cosine" else vectors

    def item_vectors(self, rows: Tensor) -> Tensor:
        return compared(self.transform(self.item_tower(self.item_inputs(rows))), self.similarity)

    def item_bias(self, rows: Tensor) -> Tensor | None:
        cold, count = self.cold["items"], self._count("items")
        if self.bias is None or not len(cold):
            return super().item_bias(rows)
        own: Tensor = self.bias(rows.clamp(max=count - 1))
        return torch.where(rows < count, own, torch.full_like(own, cold.bias))

    def replaced(self, **modules: nn.Module | None) -> TwoTower:
        unknown = set(modules) - set(SLOTS)
        if unknown:
            raise KeyError(f"No modules named {sorted(unknown)}; there are {sorted(SLOTS)}.")
        return self._like(modules, self.cold["users"], self.cold["items"])

    def with_tables(self, users: nn.Module, items: nn.Module) -> TwoTower:
        """This model over other tables, whose items a history without its own reads too.

        As a base is trained: under an adapter, which `replaced` puts there, histories go on
        reading the base's items.
        """
        found = self.replaced(users=users, items=items)
        object.__setattr__(found, "_history_items", items)
        return found

    def with_cold(self, users: Cold = NOBODY, items: Cold = NOBODY) -> TwoTower:
        """A model that shares all of this one and has rows for cold users and items besides."""
        return self._like({}, users, items)

    def tensors(self) -> dict[str, Tensor]:
        for name, module in self.named_modules():
            if not type(module).__module__.startswith(("torch.", "lorarec.models.")):
                raise TypeError(f"The {name} is a {type(module).__name__}, not plain.")
        modules = {
            "user_tower": self.user_tower,
            "item_tower": self.item_tower,
            "transform": self.transform,
            "history": self.history,
        }
        return plain_tables(self) | {
            f"{name}.{part}": tensor.detach()
            for name, module in modules.items()
            if module is not None
            for part, tensor in module.state_dict().items()
        }

    def scoring(self) -> str:
        # Without defaults, so that an option of a later version leaves old digests as they are.
        shape = self.config.model_dump(exclude_defaults=True, exclude=set(TRAINING_ONLY))
        return f"two-tower {self.similarity} {self.temperature!r} {sorted(shape.items())}"

    def _tower(self, side: str) -> Tower:
        return self.user_tower if side == "users" else self.item_tower

    def _is_lonely(self, side: str) -> bool:
        """Whether nothing but the id is known of users or of items."""
        return self._tower(side).features is None and (side == "items" or self.history is None)

    def _count(self, side: str) -> int:
        """Rows of a table, grown ones included."""
        table = self.users if side == "users" else self.items
        table = getattr(table, "base_layer", table)  # what PEFT puts around a table has it inside
        return table.num_embeddings if isinstance(table, nn.Embedding) else len(table)  # type: ignore[arg-type]

    def _inputs(self, side: str, rows: Tensor, without: Tensor | None = None) -> Tensor:
        known, count, cold = self.known[side], self._count(side), self.cold[side]
        vectors = self._ids(side, rows)
        if self._is_lonely(side):
            return vectors
        if count == known and not len(cold):
            return vectors + self._beside(side, rows, rows, without)
        # A grown row is its vector alone, and so is one that was appended to the base.
        chosen = torch.nonzero((rows < known) | (rows >= count)).squeeze(1)
        if not len(chosen):
            return vectors
        row = rows[chosen]
        behind = (row - count).clamp(min=0)
        is_cold = row >= count
        place = torch.where(is_cold, cold.places[behind], row) if len(cold) else row
        own = torch.where(is_cold, known + behind, row)
        left_out = None if without is None else without[chosen]
        # Under autocast features of linear layers are bfloat16, and are added to float32 vectors.
        beside = self._beside(side, place, own, left_out).to(vectors.dtype)
        return vectors.index_add(0, chosen, beside)

    def _ids(self, side: str, rows: Tensor) -> Tensor:
        """Vectors of rows by their id alone; a cold row has none."""
        table, count, cold = getattr(self, side), self._count(side), self.cold[side]
        if not len(cold):
            vectors: Tensor = table(rows)
        else:
            as_rows(rows, count + len(cold), side)
            vectors = table(rows.clamp(max=count - 1)) * (rows < count).unsqueeze(1)
        if not self.training or not self.config.id_dropout or self._is_lonely(side):
            return vectors
        kept = torch.rand(len(rows), 1, device=rows.device) >= self.config.id_dropout
        return vectors * (kept | (rows >= self.known[side]).unsqueeze(1))

    def _beside(self, side: str, places: Tensor, rows: Tensor, without: Tensor | None) -> Tensor:
        """What features, by place, and history, by row of its own, add to the id."""
        features = self._tower(side).features
        parts = [features(places)] if features is not None else []
        if side == "users" and self.history is not None:
            parts.append(self.history(rows, self._history_vectors, without))
        total: Tensor = sum(parts[1:], parts[0])
        return total

    def _history_vectors(self, items: Tensor) -> Tensor:
        """What a history pools of an item: int64 (n,), rows of the base → (n, d)."""
        table = self._history_items if self.history is None else self.history.table
        vectors: Tensor = (self._history_items if table is None else table)(items)
        features = self._history_features
        return vectors if features is None else vectors + features(items)

    def _like(self, modules: Mapping[str, nn.Module | None], users: Cold, items: Cold) -> TwoTower:
        slots: dict[str, Any] = {name: getattr(self, name) for name in SLOTS}
        history = self.history
        if history is not None and users is not self.cold["users"]:
            history = history.followed_by(users.history, len(users), self.known["users"])
        return TwoTower(
            **(slots | dict(modules)),
            dim=self._dim,
            known=self.known,
            config=self.config,
            similarity=self.similarity,
            temperature=self.temperature,
            history=history,
            history_items=self._history_items,
            history_features=self._history_features,
            cold={"users": users, "items": items},
        )
