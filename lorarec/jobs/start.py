"""The model that a base's training starts with, and what it is afterwards, in one piece."""

from __future__ import annotations

import torch
from torch import Tensor

from lorarec.config import Settings
from lorarec.data.interactions import Interactions
from lorarec.jobs.sides import Sides
from lorarec.models.base import table_of
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.sharded_table import ShardedTable, handed_out
from lorarec.training.spectral import spectral_tables

DENSE = ("user_tower.", "item_tower.", "transform.", "history.gate")
"""Beginnings of the names of what learns by `train.tower_rate`: nearly every batch moves it."""


def starting_model(
    settings: Settings, train: Interactions, sides: Sides, ranks: Ranks = ALONE
) -> MatrixFactorization | TwoTower:
    """A model over the spectral tables of the train rows; all else of it adds nothing yet.

    Where tables lie in shards the first rank computes them whole, on its CPU, while the others
    wait, and hands them out: they begin with the numbers that they would have without shards.

    Args:
        settings: Its sections `model` and `train`: the seed, and whether ranks share the tables.
        train: The training rows; histories are of them alone, so that nothing held out is seen.
        sides: The features of their users and items.
        ranks: The processes that train it together; each calls this.
    """
    shape, seed = settings.model, settings.train.seed
    sharded = settings.train.shard_tables and ranks.together
    pairs = train.csr()
    model: MatrixFactorization | TwoTower
    started: tuple[Tensor, Tensor] | None
    if sharded:
        started = ranks.awaited(lambda: spectral_tables(pairs, shape.dim, seed))
    else:
        started = spectral_tables(pairs, shape.dim, seed)
    users_start, items_start = started or [_nothing(rows, shape.dim) for rows in pairs.shape]
    tables = users_start, items_start
    if shape.name == "mf":
        model = MatrixFactorization.from_tables(*tables, shape.similarity, shape.temperature)
    else:
        model = TwoTower.from_tables(
            *tables,
            shape.similarity,
            shape.temperature,
            TowerConfig(**{name: getattr(shape, name) for name in TowerConfig.model_fields}),
            pairs,
            sides.embedding("users", train.users, shape.dim),
            sides.embedding("items", train.items, shape.dim),
            seed=seed,
        )
    if not sharded:
        return model
    users, items = (handed_out(table, len(table), shape.dim, ranks) for table in tables)
    return _over(model, users, items)


def whole_model(
    model: MatrixFactorization | TwoTower, ranks: Ranks
) -> MatrixFactorization | TwoTower:
    """A model with its tables in one piece, on the first rank's CPU.

    Args:
        model: On whatever device; one without tables in shards is given back as it is.
        ranks: All must call this. The others than the first keep their shards.
    """
    if not (isinstance(model.users, ShardedTable) and isinstance(model.items, ShardedTable)):
        return model
    users = model.users.collected()
    items = model.items.collected()
    if users is None or items is None:
        return model
    return _over(model, table_of(users), table_of(items)).to("cpu")


def _over(
    model: MatrixFactorization | TwoTower, users: torch.nn.Module, items: torch.nn.Module
) -> MatrixFactorization | TwoTower:
    if isinstance(model, TwoTower):
        return model.with_tables(users, items)
    return model.replaced(users=users, items=items)


def _nothing(rows: int, dim: int) -> Tensor:
    """Zeros (rows, dim) that take no memory: a rank that does not have the start stands on them."""
    return torch.zeros(1, 1).expand(rows, dim)
