"""Users and items that a two-tower base has no row for, and yet knows by features or history."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch
from scipy import sparse

from lorarec.data.vocabulary import Vocabulary
from lorarec.models.artefact import Base, Side
from lorarec.models.base import BaseModel
from lorarec.models.two_tower import Cold, TwoTower

Array = np.ndarray[Any, Any]


def with_cold(
    base: Base,
    model: BaseModel,
    users: Vocabulary,
    items: Vocabulary,
    train: pl.DataFrame,
    catalogue: pl.Series,
) -> tuple[BaseModel, Vocabulary, Vocabulary]:
    """A model with rows for cold ids behind its last, and the vocabularies with those ids.

    A cold user is known where it has features, or where it has train rows of items that the base
    knows; a cold item where it has features. Histories are of train rows alone, as in training,
    whatever part is evaluated. A model without towers is given back as it is.

    Args:
        base: Has the features.
        model: The base's, or that with an adapter on it.
        users: Of the model, grown ones included.
        items: Of the model, grown ones included.
        train: Train rows of the domain.
        catalogue: Ids whose mean bias a cold item has.
    """
    if not isinstance(model, TwoTower):
        return model, users, items
    new_users, had = _histories(base, users, train) if model.history is not None else (None, None)
    cold_users = _described(base, "users", users)
    if new_users is not None:
        cold_users = cold_users.extend(new_users.series)
    cold_items = _described(base, "items", items)
    if not len(cold_users) and not len(cold_items):
        return model, users, items
    history = None
    if new_users is not None and had is not None:
        place = cold_users.rows(new_users.series)
        shape = (len(cold_users), base.info.items)
        history = sparse.csr_matrix((had.data, (place[had.row], had.col)), shape=shape)
    extended = model.with_cold(
        Cold(feature_places(base, "users", cold_users), history),
        Cold(feature_places(base, "items", cold_items), bias=_mean_bias(model, items, catalogue)),
    )
    return extended, users.extend(cold_users.series), items.extend(cold_items.series)


def vectors_of_histories(
    base: Base, model: BaseModel, users: Vocabulary, had: sparse.csr_matrix
) -> tuple[Array, Array]:
    """What towers that pool histories make of users that are nothing but what they had.

    Args:
        base: Has the features.
        model: The base's, or that with an adapter on it, without cold rows.
        users: Of the model, grown ones included.
        had: (m, items of the base), stored where a user had an item.

    Returns:
        float32 (m, d), and bool (m,): who had an item that the base knows. A model that pools no
        histories knows nobody.
    """
    told = np.diff(had.indptr) > 0
    if not isinstance(model, TwoTower) or model.history is None:
        return np.zeros((len(told), model.dim), np.float32), np.zeros(len(told), bool)
    described = base.features["users"].described if "users" in base.features else ()
    nowhere = base.info.users + len(described)  # the place among the features that has none
    places = torch.full((len(told),), nowhere, dtype=torch.int64)
    extended = model.with_cold(Cold(places, had))
    with torch.no_grad():
        rows = torch.arange(len(users), len(users) + len(told))
        return extended.user_vectors(rows).numpy(), told


def _described(base: Base, side: Side, known: Vocabulary) -> Vocabulary:
    """Ids that have features and no row, in this vocabulary alone."""
    if side not in base.features:
        return Vocabulary()
    ids = base.features[side].described.series
    return Vocabulary(ids.filter(known.rows(ids, missing="mark") < 0))


def _histories(
    base: Base, users: Vocabulary, train: pl.DataFrame
) -> tuple[Vocabulary, sparse.coo_matrix]:
    """Users without a row who had items that the base knows, and which."""
    user = users.rows(train["user_id"], missing="mark")
    item = base.items.rows(train["item_id"], missing="mark")
    # An item that was appended to the base is in no history: it has no features there.
    kept = (user < 0) & (item >= 0) & (item < base.info.items)
    ids = train["user_id"].filter(pl.Series(kept))
    cold = Vocabulary().extend(ids)
    ones = np.ones(int(kept.sum()), np.float32)
    shape = (len(cold), base.info.items)
    return cold, sparse.coo_matrix((ones, (cold.rows(ids), item[kept])), shape=shape)


def feature_places(base: Base, side: Side, cold: Vocabulary) -> torch.Tensor:
    """Where the features of cold ids are; the last place, of no features, where there are none."""
    count = base.info.users if side == "users" else base.info.items
    if side not in base.features:
        return torch.zeros(len(cold), dtype=torch.int64)
    described = base.features[side].described
    found = described.rows(cold.series, missing="mark")
    return torch.from_numpy(count + np.where(found >= 0, found, len(described)))


def _mean_bias(model: TwoTower, items: Vocabulary, catalogue: pl.Series) -> float:
    rows = items.rows(catalogue, missing="mark")
    with torch.no_grad():
        bias = model.item_bias(torch.from_numpy(rows[rows >= 0]))
    return float(bias.mean()) if bias is not None and len(bias) else 0.0
