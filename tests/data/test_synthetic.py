from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.contract import check_frame
from lorarec.data.made import sampling
from lorarec.data.made.popularity import HEAD, SLOPE
from lorarec.data.made.taste import shifted
from lorarec.data.schema import SCHEMA
from lorarec.data.synthetic import World, make_logs, make_world
from lorarec.errors import ConfigError, NotFoundError

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def numbers(logs: pl.DataFrame, column: str) -> Array:
    """The rows of users or items in the truth's arrays."""
    return logs[column].str.slice(1).cast(int).to_numpy()


def days(world: World) -> Array:
    """The day of the window of each row."""
    return (world.logs["timestamp"].to_numpy() - world.start) // 86_400


def places(scores: Array, user: Array, item: Array) -> Array:
    """Share of the catalogue that each row's item is ranked before."""
    own = scores[user, item][:, None]
    return (scores[user] < own).sum(axis=1) / np.isfinite(scores[0]).sum()


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


def test_the_size_of_blocks_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_BLOCK", 5000)
    assert make_logs().equals(world.logs)


def test_another_rank_or_window_moves_no_user_and_no_item(world: World) -> None:
    other = make_world(rank=2, days=30, interactions=20_000)
    assert np.array_equal(other.user_factors, world.user_factors)
    assert np.array_equal(other.item_factors, world.item_factors)
    assert np.array_equal(other.popularity, world.popularity)


def test_histories_have_five_rows(world: World) -> None:
    assert world.logs.group_by("user_id", "domain").len()["len"].quantile(0.01) >= 5


def test_rows_are_where_the_user_and_the_item_are(world: World) -> None:
    user, item = numbers(world.logs, "user_id"), numbers(world.logs, "item_id")
    domain = world.logs["domain"].replace_strict({n: d for d, n in enumerate(world.domains)})
    assert world.user_in[domain.to_numpy(), user].all()
    assert world.item_in[domain.to_numpy(), item].all()


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_some_are_shared_and_some_are_private(world: World, column: str) -> None:
    in_domains = world.logs.group_by(column).agg(n=pl.col("domain").n_unique())["n"]
    assert 0.4 < (in_domains > 1).mean() < 0.9


def test_some_are_private_in_a_world_of_many_domains() -> None:
    many = make_world([f"d{d}" for d in range(20)], 400, 400, 8000)
    assert 0.1 < (many.item_in.sum(axis=0) == 1).mean() < 0.3
    assert (many.user_in.sum(axis=0) == 1).mean() > 0.1


def test_popularity_is_a_power_law_of_the_rank(world: World) -> None:
    rank = np.argsort(np.argsort(-world.popularity, axis=1), axis=1)
    assert np.allclose(world.popularity, -SLOPE * np.log(rank + HEAD))


def test_counts_fall_as_a_power_of_the_rank(world: World) -> None:
    books = world.logs.filter(pl.col("domain") == "books")
    counts = books["item_id"].value_counts(sort=True)["count"].to_numpy()[:500]
    slope, _ = np.polyfit(np.log(np.arange(len(counts)) + HEAD), np.log(counts), 1)
    assert -1.2 < slope < -0.6  # no user has an item twice, which flattens the 1 of the law


def test_popularity_has_a_head(world: World) -> None:
    counts = world.logs["item_id"].value_counts(sort=True)["count"].to_numpy()
    assert 0.2 < counts[:120].sum() / counts.sum() < 0.6


@pytest.mark.parametrize("rank", [0, 1, 4, 16])
def test_every_shift_has_the_asked_rank(rank: int) -> None:
    made = make_world(users=40, items=40, interactions=400, rank=rank)
    assert [np.linalg.matrix_rank(shift) for shift in made.shifts] == [rank] * 4
    assert made.rank == rank


def test_a_shift_is_as_long_at_every_rank() -> None:
    lengths = []
    for rank in (1, 4, 16):
        made = make_world(["d", "e"], 40, 40, 400, seed=5, rank=rank)
        moves = made.taste.kinds @ made.shifts
        lengths.append(np.sqrt((moves**2).sum(axis=2).mean()))
    assert max(lengths) < 2 * min(lengths)


def test_without_a_shift_all_domains_see_the_same() -> None:
    made = make_world(rank=0, users=40, items=40, interactions=400)
    assert np.array_equal(made.law("books")[0].vectors, made.law("games")[0].vectors)


def test_the_true_scores_explain_the_logs(world: World) -> None:
    rows = world.logs.filter(pl.col("domain") == "games")
    user, item = numbers(rows, "user_id"), numbers(rows, "item_id")
    scores = world.scores("games")
    catalogue = np.flatnonzero(world.item_in[3])
    chosen, typical = scores[user, item], scores[user][:, catalogue].mean(axis=1)
    assert np.mean(chosen - typical) > 3


@pytest.mark.parametrize("domain", ["books", "games"])
def test_a_domain_s_own_shift_explains_it_better_than_none_or_another(
    world: World, domain: str
) -> None:
    d = world.number(domain)
    rows = world.logs.filter(pl.col("domain") == domain)
    user, item = numbers(rows, "user_id"), numbers(rows, "item_id")

    def explained(left: Array, right: Array) -> float:
        seen = shifted(world.item_factors, left, right)
        scores = np.where(world.item_in[d], world.user_factors @ seen.T, -np.inf)
        return float(places(scores, user, item).mean())

    own = explained(world.shift_left[d], world.shift_right[d])
    assert own > 0.05 + explained(world.shift_left[d] * 0, world.shift_right[d])
    assert own > 0.05 + explained(world.shift_left[d - 1], world.shift_right[d - 1])


def test_time_lies_in_2025(world: World) -> None:
    dates = pl.from_epoch(world.logs["timestamp"]).dt.year()
    assert dates.unique().to_list() == [2025]
    assert world.logs["timestamp"].is_sorted()


def test_the_window_is_as_asked() -> None:
    made = make_world(days=7, start=date(2026, 3, 1), interactions=20_000)
    moments = pl.from_epoch(made.logs["timestamp"]).dt.date()
    assert moments.min() == date(2026, 3, 1)
    assert moments.max() == date(2026, 3, 7)


def test_nothing_happens_before_the_first_day(world: World) -> None:
    day = days(world)
    assert (world.user_first_day[numbers(world.logs, "user_id")] <= day).all()
    assert (world.item_first_day[numbers(world.logs, "item_id")] <= day).all()


def test_new_users_and_items_appear_every_day() -> None:
    made = make_world(days=30, users=3000, items=3000)
    for first in (made.user_first_day, made.item_first_day):
        assert set(first) == set(range(30))
        assert 0.15 < (first > 0).mean() < 0.25


def test_all_are_there_in_a_window_of_one_day() -> None:
    made = make_world(days=1, users=40, items=40, interactions=400)
    assert made.user_first_day.max() == made.item_first_day.max() == 0


def test_taste_drifts_in_the_known_direction(world: World) -> None:
    towards = world.item_factors @ world.taste.drift
    rows = towards[numbers(world.logs, "item_id")]
    early, late = (rows[half].mean() for half in (days(world) < 90, days(world) >= 275))
    across = np.linalg.qr(np.column_stack([world.taste.drift, np.eye(16)[:, :15]]))[0][:, 1:]
    others = (world.item_factors @ across)[numbers(world.logs, "item_id")]
    moved = others[days(world) >= 275].mean(axis=0) - others[days(world) < 90].mean(axis=0)
    assert late - early > 0.02
    assert late - early > 2 * np.abs(moved).max()


def test_scores_of_a_day_leave_out_what_is_not_there_yet(world: World) -> None:
    there = np.isfinite(world.scores("books", day=100)[0])
    assert np.array_equal(there, world.item_in[0] & (world.item_first_day <= 100))
    assert np.array_equal(np.isfinite(world.scores("books")[0]), world.item_in[0])


def test_an_unknown_domain_gets_the_nearest_name(world: World) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        world.scores("book")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(8, 40),
    st.integers(8, 40),
    st.integers(8, 400),
    st.integers(1, 9),
    st.integers(0, 16),
)
def test_any_size_keeps_the_contract(
    domains: int, users: int, items: int, rows: int, length: int, rank: int
) -> None:
    names = [f"d{i}" for i in range(domains)]
    logs = make_logs(names, users, items, rows, seed=3, rank=rank, days=length)
    report = check_frame(logs)
    assert report.ok
    assert report.repeated_pairs == 0
    assert logs["domain"].n_unique() == domains
    assert logs.height <= rows


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.integers(60, 300), st.integers(0, 5))
def test_the_rows_are_exactly_as_many_as_asked(domains: int, users: int, seed: int) -> None:
    logs = make_logs([f"d{i}" for i in range(domains)], users, 600, users * 12, seed)
    assert logs.height == users * 12


@pytest.mark.parametrize("domains", [[], ["a", "a"], ["a", ""]])
def test_domains_are_different_names(domains: list[str]) -> None:
    with pytest.raises(ConfigError, match="one or more different names"):
        make_logs(domains)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("users", 3), ("items", 3), ("interactions", 3),
        ("rank", -1), ("rank", 17), ("days", 0), ("days", 40_000),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused_by_name(option: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"--{option} is {value}. Expected"):
        make_logs(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [date(1969, 12, 31), date(5000, 1, 1)])
def test_the_window_begins_in_a_year_that_the_contract_takes(start: date) -> None:
    with pytest.raises(
        ConfigError, match=r"--start is .*Expected a date of the years 1970 to 4999"
    ):
        make_logs(start=start)


def test_the_last_window_keeps_the_contract() -> None:
    logs = make_logs(users=20, items=20, interactions=80, start=date(4999, 12, 31), days=36_500)
    assert check_frame(logs).ok
