"""A domain ready to be ranked: its catalogue, what users have seen, full rankings."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from lorarec.errors import NotFoundError
from lorarec.jobs.ranking import Arena

ROWS = [
    ("u0", "i4", "books", "train"),
    ("u1", "i4", "books", "train"),
    ("u1", "i1", "books", "train"),
    ("new", "i6", "books", "train"),
    ("u0", "i1", "books", "valid"),
    ("u0", "i6", "books", "test"),
    ("u0", "i6", "books", "test"),
    ("u1", "i7", "books", "test"),
    ("u0", "i2", "games", "train"),
    ("u2", "i6", "books", "extra"),
]


@pytest.fixture
def arena() -> Arena:
    frame = pl.DataFrame(ROWS, schema=["user_id", "item_id", "domain", "split"], orient="row")
    return Arena.of(frame, "books")


@pytest.fixture
def base(base_maker: Any) -> Any:
    return base_maker()


def named(arena: Arena, row: np.ndarray) -> list[str]:
    return arena.catalogue.take(row[row >= 0]).to_list()


def test_the_catalogue_is_the_items_of_the_domains_train_rows(arena: Arena) -> None:
    assert arena.catalogue.ids.tolist() == ["i1", "i4", "i6"]


def test_popularity_counts_train_rows_alone(arena: Arena) -> None:
    assert arena.popularity.tolist() == [1.0, 2.0, 1.0]


def test_the_members_are_the_train_users(arena: Arena) -> None:
    assert arena.members.to_list() == ["new", "u0", "u1"]


def test_seen_holds_the_parts_asked_for(arena: Arena) -> None:
    users = pl.Series(["u1", "u0"])
    train = arena.seen(users, ("train",)).toarray()
    assert train.tolist() == [[1, 1, 0], [0, 1, 0]]
    both = arena.seen(users, ("train", "valid")).toarray()
    assert both.tolist() == [[1, 1, 0], [1, 1, 0]]


def test_held_out_users_are_those_of_the_part_and_repeats_count_once(arena: Arena) -> None:
    users, held_out = arena.held_out("test")
    assert users.to_list() == ["u0", "u1"]
    assert held_out.sizes.tolist() == [1, 1]


def test_a_held_out_item_outside_the_catalogue_is_a_certain_miss(arena: Arena) -> None:
    _, held_out = arena.held_out("test")
    assert held_out.outside(np.arange(3)) == 1


def test_another_value_of_the_split_is_a_part(arena: Arena) -> None:
    assert arena.held_out("extra")[0].to_list() == ["u2"]


def test_an_unknown_part_gets_the_nearest(arena: Arena) -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'extra'.*--on valid"):
        arena.held_out("extras")


def test_a_ranking_is_by_score_over_the_catalogue(arena: Arena, base: Any) -> None:
    users = pl.Series(["u0", "u5"])
    scorer = arena.scorer(base, None)
    ranked, scores, _ = arena.rank(scorer, users, 3, arena.seen(users, ()))
    for place, user in enumerate(users):
        own = scorer.score([user] * 3, arena.catalogue.series)
        assert ranked[place].tolist() == np.argsort(-own).tolist()
        np.testing.assert_allclose(scores[place], np.sort(own)[::-1], rtol=1e-5)


def test_a_ranking_never_holds_what_was_seen(arena: Arena, base: Any) -> None:
    users = pl.Series(["u0", "u1"])
    seen = arena.seen(users, ("train", "valid"))
    ranked, _, _ = arena.rank(arena.scorer(base, None), users, 3, seen)
    assert [named(arena, row) for row in ranked] == [["i6"], ["i6"]]


def test_a_k_beyond_the_catalogue_is_filled_with_nothing(arena: Arena, base: Any) -> None:
    users = pl.Series(["u2"])
    ranked, _, _ = arena.rank(arena.scorer(base, None), users, 9, arena.seen(users, ()))
    assert ranked.shape == (1, 9)
    assert (ranked[0] >= 0).sum() == 3


def test_a_user_without_a_row_gets_the_popular_items_it_has_not_seen(
    arena: Arena, base: Any
) -> None:
    users = pl.Series(["new", "u2", "nobody"])
    seen = arena.seen(users, ("train",))
    ranked, scores, cold = arena.rank(arena.scorer(base, None), users, 2, seen)
    assert cold.tolist() == [True, False, True]
    assert named(arena, ranked[0]) == ["i4", "i1"]
    assert named(arena, ranked[2]) == ["i4", "i1"]
    assert scores[2].tolist() == [2.0, 1.0]
