"""The model that a base's training starts with."""

from __future__ import annotations

from lorarec.config import Settings
from lorarec.data.interactions import Interactions
from lorarec.jobs.sides import Sides
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.training.spectral import spectral_tables

DENSE = ("user_tower.", "item_tower.", "transform.", "history.gate")
"""Beginnings of the names of what learns by `train.tower_rate`: nearly every batch moves it."""


def starting_model(
    settings: Settings, train: Interactions, sides: Sides
) -> MatrixFactorization | TwoTower:
    """A model over the spectral tables of the train rows; all else of it adds nothing yet.

    Args:
        settings: Its sections `model` and `train` (the seed).
        train: The training rows; histories are of them alone, so that nothing held out is seen.
        sides: The features of their users and items.
    """
    shape, seed = settings.model, settings.train.seed
    pairs = train.csr()
    tables = spectral_tables(pairs, shape.dim, seed)
    if shape.name == "mf":
        return MatrixFactorization.from_tables(*tables, shape.similarity, shape.temperature)
    return TwoTower.from_tables(
        *tables,
        shape.similarity,
        shape.temperature,
        TowerConfig(**{name: getattr(shape, name) for name in TowerConfig.model_fields}),
        pairs,
        sides.embedding("users", train.users, shape.dim),
        sides.embedding("items", train.items, shape.dim),
        seed=seed,
    )
