"""Small trainings that one process does alone, or several together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from lorarec.data.features.table import Bags, FeatureTable
from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.lora.layers import DomainBias
from lorarec.models.base import BaseModel
from lorarec.models.features import FeatureEmbedding
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.examples import examples_of
from lorarec.training.loop import History, Options, Progress, fit
from lorarec.training.objective import Objective
from lorarec.training.sharded_table import handed_out, sharded_tables
from lorarec.training.temperature import LearntTemperature
from lorarec.training.validation import RankingValidation

USERS, ITEMS, DIM = 40, 30, 8
ROWS = {"a": 97, "b": 49}
"""Train rows of each domain: one more than whole batches of 16, so that a rank has none of it."""
BASIC = Options(epochs=4, batch_size=16, negatives=12, learning_rate=0.05, averaging=0.5)
TOWERS = TowerConfig(layers=(8,), history="attention")


@dataclass(frozen=True)
class Case:
    """One way to train."""

    objective: Objective = field(default_factory=lambda: Objective(0))
    options: dict[str, Any] = field(default_factory=dict)
    towers: TowerConfig | None = None
    """Of a two-tower model; None is matrix factorization with a bias for each domain."""
    weighted: bool = False
    learn_temperature: bool = False
    sharded: bool = False
    """Users and items lie in shards."""


CASES = {
    "softmax": Case(options={"clip_norm": 0.5}),
    "softmax over the catalogue": Case(options={"negatives": 99}, learn_temperature=True),
    "softmax in the batch": Case(Objective(0, sampling="in-batch"), weighted=True),
    "bpr": Case(Objective(0, "bpr", "uniform"), {"negatives": 32}, weighted=True),
    "bpr in the batch": Case(Objective(0, "bpr", "in-batch"), {"negatives": 48}),
    "ccl": Case(Objective(0, "ccl", margin=0.2), {"optimizer": "adagrad"}),
    "two-tower": Case(options={"weight_decay": 0.01, "decay": "cosine"}, towers=TOWERS),
}
SHARDED = {
    f"sharded {name}": replace(CASES[name], sharded=True)
    for name in ("softmax", "softmax over the catalogue", "bpr", "ccl", "two-tower")
}
DROPPED = Case(towers=TOWERS.model_copy(update={"dropout": 0.3, "id_dropout": 0.2}))


def logs() -> Interactions:
    """Seeded rows of two domains, an eighth more of them for validation, some of weight 0."""
    random = np.random.default_rng(3)
    rows = []
    for domain, count in ROWS.items():
        pairs = random.permutation(USERS * ITEMS)[: count + count // 8]
        rows += [
            (str(p // ITEMS), str(p % ITEMS), domain, "train" if n < count else "valid", n % 3)
            for n, p in enumerate(pairs)
        ]
    names = ["user_id", "item_id", "domain", "split", "weight"]
    frame = pl.DataFrame(rows, names, orient="row").with_columns(
        pl.col("weight").cast(pl.Float32), pl.lit(None, pl.Int64).alias("timestamp")
    )
    known = [Vocabulary([str(n) for n in range(count)]) for count in (USERS, ITEMS)]
    return Interactions.from_frame(frame, *known, tuple(ROWS))


def model_of(case: Case, train: Interactions, ranks: Ranks = ALONE) -> Any:
    """The model at its start."""
    random = torch.Generator().manual_seed(5)
    tables = [torch.randn(count, DIM, generator=random) * 0.3 for count in (USERS, ITEMS)]
    if case.sharded:
        # The first rank's start counts: the others have none.
        whole = [table if ranks.first else None for table in tables]
        pairs = zip(whole, (USERS, ITEMS), strict=True)
        users, items = (handed_out(table, count, DIM, ranks) for table, count in pairs)
        if case.towers is None:
            return MatrixFactorization(users, items, DIM, "cosine", 0.15)
        return model_of(replace(case, sharded=False), train).with_tables(users, items)
    if case.towers is None:
        return MatrixFactorization.from_tables(*tables, "cosine", 0.15)
    codes = np.arange(ITEMS + 1, dtype=np.int32)
    nothing = np.zeros((ITEMS + 1, 1))
    features = FeatureTable(
        codes < ITEMS,
        {"kind": codes % 4},
        {"tags": Bags(np.arange(ITEMS + 2), codes % 5)},
        ("price",),
        (codes[:, None] / ITEMS).astype(np.float32),
        nothing > 0,
        {},
    )
    items = FeatureEmbedding(features, {"kind": 4, "tags": 5}, DIM)
    towers = case.towers
    return TwoTower.from_tables(*tables, "cosine", 0.15, towers, train.csr(), item_features=items)


def trained(
    case: Case,
    ranks: Ranks = ALONE,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    train: Interactions | None = None,
    **options: Any,
) -> tuple[dict[str, Tensor], History]:
    """The parameters after a training, by name, and what happened."""
    whole = logs()
    part = whole.part("train") if train is None else train
    if not case.weighted:
        part = replace(part, weight=np.ones_like(part.weight))
    model, domains = model_of(case, part, ranks), list(ROWS)
    models: dict[str, BaseModel] = dict.fromkeys(domains, model)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    examples = examples_of(part, domains)
    for domain in examples if case.towers is None else ():
        bias = DomainBias(None, domain.sampler.items)
        models[domain.name] = model.replaced(bias=bias)
        parameters[f"bias.{domain.name}"] = bias.b
    objective = case.objective
    if case.learn_temperature:
        objective = replace(objective, temperature=LearntTemperature(models.values()))
        assert objective.temperature is not None
        parameters["temperature"] = objective.temperature.theta
    validation = RankingValidation(part, whole.part("valid"), domains)

    def measured() -> dict[str, float]:
        # Under another name, so that no epoch is better than the last and that one is kept.
        return {f"own_{name}": value for name, value in validation(models).items()}

    history = fit(
        models,
        parameters,
        examples,
        replace(BASIC, objective=objective, **{**case.options, **options}),
        measured,
        report,
        checkpoints,
        ranks=ranks,
    )
    sharded = sharded_tables(models.values(), parameters)
    whole_tables = {name: table.collected() for name, table in sharded.items()}
    found = {name: p.detach().clone() for name, p in parameters.items() if name not in sharded}
    return found | {n: t for n, t in whole_tables.items() if t is not None}, history


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference of two trainings' parameters."""
    assert set(ours) == set(theirs)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)
