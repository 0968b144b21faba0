from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.contract import check_frame
from lorarec.data.schema import SCHEMA
from lorarec.data.synthetic import World, make_logs, make_world
from lorarec.errors import ConfigError


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def test_the_world_keeps_the_contract(world: World) -> None:
    report = check_frame(world.logs)
    assert report.ok
    assert report.repeated_pairs == 0
    assert dict(world.logs.schema) == SCHEMA


def test_sizes_are_as_asked(world: World) -> None:
    assert world.logs.height == 60_000
    assert world.logs["user_id"].n_unique() == 2000
    rows = world.logs["domain"].value_counts(sort=True)
    assert rows["domain"].to_list() == list(world.domains)
    assert rows["count"][0] > 2 * rows["count"][3]


def test_the_same_seed_gives_the_same_world(world: World) -> None:
    assert make_logs().equals(world.logs)
    assert not make_logs(seed=1).equals(world.logs)


def test_histories_have_five_rows(world: World) -> None:
    assert world.logs.group_by("user_id", "domain").len()["len"].quantile(0.01) >= 5


def test_domains_share_users_and_items(world: World) -> None:
    for column in ("user_id", "item_id"):
        in_domains = world.logs.group_by(column).agg(n=pl.col("domain").n_unique())["n"]
        assert 0.4 < (in_domains > 1).mean() < 0.95


def test_popularity_has_a_head(world: World) -> None:
    counts = world.logs["item_id"].value_counts(sort=True)["count"].to_numpy()
    assert 0.2 < counts[:120].sum() / counts.sum() < 0.6


def test_time_lies_in_2025(world: World) -> None:
    dates = pl.from_epoch(world.logs["timestamp"]).dt.year()
    assert dates.unique().to_list() == [2025]
    assert world.logs["timestamp"].is_sorted()


def test_the_true_scores_explain_the_logs(world: World) -> None:
    rows = world.logs.filter(pl.col("domain") == "games")
    user = rows["user_id"].str.slice(1).cast(int).to_numpy()
    item = rows["item_id"].str.slice(1).cast(int).to_numpy()
    scores = world.scores("games")
    catalogue = np.flatnonzero(world.item_in[3])
    chosen, typical = scores[user, item], scores[user][:, catalogue].mean(axis=1)
    assert np.mean(chosen - typical) > 3


def test_a_domain_s_own_scores_explain_it_better(world: World) -> None:
    rows = world.logs.filter(pl.col("domain") == "games")
    user = rows["user_id"].str.slice(1).cast(int).to_numpy()
    item = rows["item_id"].str.slice(1).cast(int).to_numpy()
    taste = (world.user_factors[user] * world.item_factors[item]).sum(axis=1)
    moved = world.item_factors + world.item_factors @ world.shifts[3]
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    assert (world.user_factors[user] * moved[item]).sum(axis=1).mean() > 1.1 * taste.mean()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(8, 40), st.integers(8, 40), st.integers(8, 400))
def test_any_size_keeps_the_contract(domains: int, users: int, items: int, rows: int) -> None:
    logs = make_logs([f"d{i}" for i in range(domains)], users, items, rows, seed=3)
    report = check_frame(logs)
    assert report.ok
    assert report.repeated_pairs == 0
    assert logs["domain"].n_unique() == domains
    assert logs.height <= rows


@pytest.mark.parametrize("domains", [[], ["a", "a"], ["a", ""]])
def test_domains_are_different_names(domains: list[str]) -> None:
    with pytest.raises(ConfigError, match="one or more different names"):
        make_logs(domains)


def test_sizes_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match="--users is 3"):
        make_logs(users=3)
