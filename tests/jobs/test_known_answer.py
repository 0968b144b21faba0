"""What the made world hides is found: by the adapter of the right rank, in the right domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lorarec.config import Settings
from lorarec.data.made.table import ids
from lorarec.data.made.taste import DIM, shifted
from lorarec.data.made.truth import SHARPNESS
from lorarec.data.splits import split_logs
from lorarec.data.synthetic import World, make_world
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.base_training import train_base
from lorarec.jobs.domain import domain_data, train_and_valid
from lorarec.jobs.reading import trained_ids
from lorarec.jobs.search import search
from lorarec.lora.config import lora_config
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.validation import RankingValidation

USERS, ITEMS = 600, 400
SETTINGS = Settings().with_options(
    {
        "model.dim": 32,
        "train.epochs": 15,
        "train.threads": 1,
        "adapt.epochs": 40,
        "adapt.batch_size": 256,
        "adapt.learning_rate": 0.03,
        "adapt.learning_rate_grid": [1.0],
        "adapt.patience": 20,
    }
)


@pytest.fixture(scope="module")
def made() -> World:
    """Four domains with shifts of rank 4."""
    return make_world(users=USERS, items=ITEMS, interactions=30_000)


@pytest.fixture(scope="module")
def frame(made: World) -> pl.DataFrame:
    """Split by time."""
    return split_logs(made.logs, "time", valid_share=0.1, test_share=0.1)[0]


def with_tables(
    maker: Callable[..., Any], model: MatrixFactorization, users: Vocabulary, items: Vocabulary
) -> Base:
    """A base that was never written: its metadata does not matter here."""
    base: Base = replace(maker(), model=model, users=users, items=items, domain_bias={})
    return base


@pytest.fixture(scope="module")
def truth(made: World, base_maker: Callable[..., Any]) -> Base:
    """The true tastes and the items before any shift, as a base scores them."""
    tables = [torch.tensor(t, dtype=torch.float32) for t in (made.user_factors, made.item_factors)]
    model = MatrixFactorization.from_tables(*tables, "cosine", 1 / SHARPNESS)
    users, items = Vocabulary(ids("u", USERS)), Vocabulary(ids("i", ITEMS))
    return with_tables(base_maker, model.requires_grad_(False), users, items)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame, base_maker: Callable[..., Any]) -> Base:
    """A base pretrained over all domains."""
    users, items = trained_ids(frame)
    model, biases, _ = train_base(SETTINGS, frame, users, items, "cpu")
    return replace(with_tables(base_maker, model, users, items), domain_bias=biases)


def adapted(base: Base, frame: pl.DataFrame, domain: str, rank: int, targets: str | None = None):
    """The base with an adapter of one domain."""
    torch.set_num_threads(1)
    config = lora_config(rank, base.model.dim, targets)
    return search(SETTINGS, config, base, domain_data(base, frame, domain), "cpu").model


def quality(base: Base, model: BaseModel, frame: pl.DataFrame, domain: str) -> float:
    """nDCG on the domain's test rows, full ranking."""
    is_test = pl.col("split") == "test"
    rows = frame.filter(pl.col("domain") == domain).with_columns(
        split=pl.when(is_test).then(pl.lit("valid")).otherwise(pl.lit("train"))
    )
    validation = RankingValidation(*train_and_valid(rows, base.users, base.items), [domain])
    return validation({domain: model})["valid_ndcg"]


def alike(made: World, model: BaseModel, domain: str, shift_of: str) -> float:
    """Mean cosine of a model's items with those a shift makes, over the domain's catalogue."""
    d, rows = made.number(shift_of), np.flatnonzero(made.item_in[made.number(domain)])
    true = shifted(made.item_factors[rows], made.shift_left[d], made.shift_right[d])
    with torch.no_grad():
        found = model.item_vectors(torch.from_numpy(rows)).numpy()
    return float((found * true).sum(axis=1).mean())


@pytest.mark.parametrize("domain", ["books", "games"])
def test_a_transform_of_the_right_rank_recovers_the_shift(
    made: World, truth: Base, frame: pl.DataFrame, domain: str
) -> None:
    assert alike(made, truth.model, domain, domain) < 0.6
    found = {r: adapted(truth, frame, domain, r, "transform,bias") for r in (1, made.rank)}
    assert alike(made, found[made.rank], domain, domain) > 0.9
    assert alike(made, found[1], domain, domain) < 0.75
    others = [name for name in made.domains if name != domain]
    assert max(alike(made, found[made.rank], domain, other) for other in others) < 0.4


def test_a_rank_above_the_shift_s_finds_no_more(
    made: World, truth: Base, frame: pl.DataFrame
) -> None:
    right, above, whole = (
        alike(made, adapted(truth, frame, "books", rank, "transform,bias"), "books", "books")
        for rank in (made.rank, 2 * made.rank, DIM)
    )
    assert max(above, whole) < right + 0.02


@pytest.mark.parametrize(("domain", "wrong"), [("books", "games"), ("games", "books")])
def test_the_right_adapter_helps_a_trained_base_and_the_wrong_one_does_not(
    made: World, trained: Base, frame: pl.DataFrame, domain: str, wrong: str
) -> None:
    base = quality(trained, trained.model, frame, domain)
    right = quality(trained, adapted(trained, frame, domain, made.rank), frame, domain)
    other = quality(trained, adapted(trained, frame, wrong, made.rank), frame, domain)
    assert right > 1.1 * base
    assert other < base
