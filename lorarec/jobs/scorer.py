"""A base, or a base with an adapter, by ids: also by those that it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lorarec.data.vocabulary import Vocabulary
from lorarec.models.base import BaseModel

Array = np.ndarray[Any, Any]
Ids = pl.Series | Sequence[str]
BLOCK = 65_536
"""Rows looked up at once."""


class Scorer:
    """Scores ids of one domain with any model.

    An id without a row is cold. A cold item has the mean vector and the mean bias of the domain's
    catalogue; a cold user the mean vector of the domain's users. Every score is therefore finite,
    and cold ids are counted by whoever asks.

    Args:
        model: Base or adapted model, on the CPU.
        users: Its user vocabulary, grown rows included.
        items: Its item vocabulary, grown rows included.
        catalogue: Ids of the domain's items.
        members: Ids of the domain's train users.
    """

    def __init__(
        self, model: BaseModel, users: Vocabulary, items: Vocabulary, catalogue: Ids, members: Ids
    ) -> None:
        self.model, self.users, self.items = model, users, items
        known_items = torch.from_numpy(_known(items, catalogue))
        known_users = torch.from_numpy(_known(users, members))
        with torch.no_grad():
            self._mean_item = _mean(model.item_vectors, known_items, model.dim)
            self._mean_user = _mean(model.user_vectors, known_users, model.dim)
            bias = model.item_bias(known_items)
            self._mean_bias = float(bias.mean()) if bias is not None and len(bias) else 0.0

    def user_vectors(self, ids: Ids) -> tuple[Array, Array]:
        """Vectors float32 (n, d) and a mask (n,) of the users that have a row."""
        rows = self.users.rows(ids, missing="mark")
        return _filled(self.model.user_vectors, rows, self._mean_user), rows >= 0

    def item_vectors(self, ids: Ids) -> tuple[Array, Array, Array]:
        """Vectors float32 (n, d), biases float32 (n,) and a mask of the items that have a row."""
        rows = self.items.rows(ids, missing="mark")
        vectors = _filled(self.model.item_vectors, rows, self._mean_item)
        return vectors, self._biases(rows), rows >= 0

    def score(self, users: Ids, items: Ids) -> Array:
        """Scores of pairs, float32 (n,), in their order; finite for every pair."""
        user_rows = self.users.rows(users, missing="mark")
        item_rows = self.items.rows(items, missing="mark")
        scores = np.empty(len(user_rows), np.float32)
        for start in range(0, len(scores), BLOCK):
            block = slice(start, start + BLOCK)
            user = _filled(self.model.user_vectors, user_rows[block], self._mean_user)
            item = _filled(self.model.item_vectors, item_rows[block], self._mean_item)
            scores[block] = (user * item).sum(1) + self._biases(item_rows[block])
        return scores

    def _biases(self, rows: Array) -> Array:
        known = rows >= 0
        biases = np.full(len(rows), self._mean_bias, np.float32)
        with torch.no_grad():
            own = self.model.item_bias(torch.from_numpy(rows[known]))
        biases[known] = 0.0 if own is None else own.numpy()
        return biases


def _known(vocabulary: Vocabulary, ids: Ids) -> Array:
    rows = vocabulary.rows(ids, missing="mark")
    found: Array = rows[rows >= 0]
    return found


def _mean(vectors: Any, rows: Tensor, dim: int) -> Array:
    if not len(rows):
        return np.zeros(dim, np.float32)
    mean: Array = vectors(rows).mean(0).numpy()
    return mean


@torch.no_grad()
def _filled(vectors: Any, rows: Array, mean: Array) -> Array:
    known = rows >= 0
    filled = np.tile(mean, (len(rows), 1))
    if known.any():
        filled[known] = vectors(torch.from_numpy(rows[known])).numpy()
    return filled
