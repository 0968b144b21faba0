"""Where the rows of ids that the base has never seen start, before they train with an adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.cold import feature_places
from lorarec.lora.fold_in import fold_in
from lorarec.models.artefact import Base, Side
from lorarec.models.two_tower import Cold, TwoTower

Array = np.ndarray[Any, Any]
OTHERS = 0.1
"""w of the fold-in: what a pair that was not seen counts beside one that was."""
PASSES = 2
"""Users from items and items from users, so often: new users have new items too."""


def grown_rows(
    base: Base, train: Interactions, users: Vocabulary, items: Vocabulary, ridge: float
) -> tuple[Tensor, Tensor]:
    """Initial vectors of the users and of the items that the base does not know.

    Where a two-tower base has features of an id, or knows what a new user had, its towers say where
    the row starts. Every other new user is folded in from the items that it interacted with, then
    every new item from its users, and both once more now that both have vectors. Directions alone
    go in and come out; all have the mean length of the base's rows, so that a step of Adam turns
    them as far. What met nothing known, not even over others, starts at the mean direction of the
    domain, or where the base knows nothing of it at the table's mean.

    Args:
        base: Gives the known rows.
        train: Train rows of one domain, over `users` and `items`.
        users: The base's users, then the new ones.
        items: The base's items, then the new ones.
        ridge: λ of the fold-in, above 0.

    Returns:
        float32 (new users, d) and (new items, d).
    """
    pairs = train.csr().tocsr()
    sides = [
        _Rows(base, "users", np.unique(train.user), users, pairs),
        _Rows(base, "items", np.unique(train.item), items, pairs),
    ]
    met = pairs[sides[0].rows][:, sides[1].rows].tocsr()
    for _ in range(PASSES):
        sides[0].fold(met, sides[1], ridge)
        sides[1].fold(met.T.tocsr(), sides[0], ridge)
    return sides[0].grown(), sides[1].grown()


class _Rows:
    """The rows of one table that a domain has, and their directions as far as they are known."""

    def __init__(
        self, base: Base, side: Side, rows: Array, ids: Vocabulary, pairs: sparse.csr_matrix
    ) -> None:
        known = len(base.users if side == "users" else base.items)
        inputs = base.model.user_inputs if side == "users" else base.model.item_inputs
        with torch.no_grad():
            table = inputs(torch.arange(known))
        self.rows = rows
        self.new = rows >= known
        """bool (t,): which of them the base lacks; every new id has a train row."""
        self.mean, self.length = table.mean(0).numpy(), float(table.norm(dim=-1).mean())
        self.told, self.is_told = _told(base, side, ids, known, pairs)
        """What the towers say of the new ones: float32 (g, d) and bool (g,)."""
        self.directions = np.zeros((len(rows), base.model.dim))
        self.directions[~self.new] = _unit(table[torch.from_numpy(rows[~self.new])].numpy())
        self.directions[self.new] = _unit(self.told)
        self.solved = self.new.copy()
        self.solved[self.new] = ~self.is_told

    def fold(self, met: sparse.csr_matrix, partners: _Rows, ridge: float) -> None:
        """Solve what is not told from the partners that have a direction: `met` is (t, theirs)."""
        have = partners.directions.any(1)
        if not self.solved.any() or not have.any():
            return
        found = fold_in(met[self.solved][:, have], partners.directions[have], ridge, OTHERS)
        # Solutions shrink as 1 / λ, and that must not pass for rounding.
        self.directions[self.solved] = _unit(found * (1 + ridge))

    def grown(self) -> Tensor:
        """The new rows' vectors: float32 (g, d)."""
        have = self.directions.any(1)
        mean = self.directions[have].mean(0) if have.any() else self.mean
        lonely = self.new & ~have
        self.directions[lonely] = _unit(mean[None])
        vectors = np.where(
            self.is_told[:, None], self.told, self.directions[self.new] * self.length
        )
        return torch.from_numpy(vectors.astype(np.float32))


@torch.no_grad()
def _told(
    base: Base, side: Side, ids: Vocabulary, known: int, pairs: sparse.csr_matrix
) -> tuple[Array, Array]:
    """What towers make of new ids: float32 (g, d), and which of them they know anything of."""
    count, model = len(ids) - known, base.model
    nothing = np.zeros((count, model.dim), np.float32), np.zeros(count, bool)
    if not isinstance(model, TwoTower) or not count:
        return nothing
    new = Vocabulary(ids.series[known:])
    told, history = np.zeros(count, bool), None
    if side in base.features:
        told |= base.features[side].described.rows(new.series, missing="mark") >= 0
    if side == "users" and model.history is not None:
        # An item that was appended to the base is in no history.
        history = pairs[known:, : base.info.items].tocsr()
        told |= np.diff(history.indptr) > 0
    if not told.any():
        return nothing
    cold = Cold(feature_places(base, side, new), history)
    extended = model.with_cold(**{side: cold})
    rows = torch.arange(known, known + count)
    inputs = extended.user_inputs if side == "users" else extended.item_inputs
    return inputs(rows).numpy(), told


def _unit(vectors: Array) -> Array:
    """Of length 1; a row shorter than rounding is zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-6)
    return found
