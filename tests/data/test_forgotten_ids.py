"""Ids that are forgotten: their rows stay empty, and everybody else's stay where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorarec.data.forgotten import Forgotten
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError, ConfigError

ids = st.lists(st.text(max_size=3), unique=True, max_size=20)
some_ids = st.lists(st.text(max_size=3), max_size=20)
few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(ids, some_ids)
def test_every_other_row_stays_and_theirs_are_empty(names: list[str], gone: list[str]) -> None:
    left = Vocabulary(names).without(gone)
    assert len(left) == len(names)
    assert left.ids.tolist() == [None if name in gone else name for name in names]
    assert left.forgotten == len(set(names) & set(gone))
    stays = [name for name in names if name not in gone]
    assert left.rows(stays).tolist() == [names.index(name) for name in stays]
    assert (left.rows(gone, missing="mark") == -1).all()


@few
@given(ids, some_ids, some_ids)
def test_an_append_still_works_and_gives_the_forgotten_a_new_row(
    names: list[str], gone: list[str], more: list[str]
) -> None:
    left = Vocabulary(names).without(gone)
    grown = left.extend([*more, *gone])
    new = [n for n in dict.fromkeys([*more, *gone]) if n not in names or n in gone]
    assert grown.ids.tolist() == [*left.ids.tolist(), *new]
    assert grown.rows(new).tolist() == list(range(len(names), len(names) + len(new)))
    assert grown.digest(len(left)) == left.digest(), "it proves that it begins with the shorter"
    assert grown.starts_with(left)


@few
@given(ids, some_ids, some_ids)
def test_the_order_of_forgetting_does_not_matter(
    names: list[str], first: list[str], then: list[str]
) -> None:
    one = Vocabulary(names).without(first).without(then)
    other = Vocabulary(names).without([*then, *first])
    assert one == other
    assert one.digest() == other.digest()
    if set(names) & {*first, *then}:
        assert one.digest() != Vocabulary(names).digest()


@few
@given(ids, some_ids)
def test_a_round_trip_keeps_the_empty_rows(
    tmp_path: Path, names: list[str], gone: list[str]
) -> None:
    left = Vocabulary(names).without(gone)
    digest = left.save(tmp_path / "v.parquet")
    read = Vocabulary.load(tmp_path / "v.parquet", digest)
    assert read == left
    assert read.digest() == left.digest() == digest


def test_a_vocabulary_that_was_emptied_by_hand_is_refused(tmp_path: Path) -> None:
    digest = Vocabulary(["a", "b"]).save(tmp_path / "v.parquet")
    frame = pl.read_parquet(tmp_path / "v.parquet")
    frame.with_columns(id=pl.Series([None, "b"], dtype=pl.String)).write_parquet(
        tmp_path / "v.parquet"
    )
    with pytest.raises(ArtifactError, match="truncated or edited"):
        Vocabulary.load(tmp_path / "v.parquet", digest)


def test_rows_of_a_table_that_name_one_go() -> None:
    frame = pl.DataFrame({"user_id": [1, 2, 3], "item_id": ["1", "b", None]})
    assert Forgotten.of([2]).kept(frame)["user_id"].to_list() == [1, 3]
    assert Forgotten.of(items=["1"]).kept(frame)["user_id"].to_list() == [2, 3]
    assert Forgotten.of([1], ["b"]).kept(frame)["user_id"].to_list() == [3]
    assert Forgotten.of(["b"]).kept(frame).equals(frame)
    assert Forgotten.of(["b"]).kept(frame.select("item_id")).height == 3


def test_nobody_is_not_forgotten() -> None:
    for users in ([], [""]):
        with pytest.raises(ConfigError, match="No id was named"):
            Forgotten.of(users)


def test_places_of_the_forgotten_are_those_of_the_vocabulary() -> None:
    vocabulary = Vocabulary(["a", "b", "c"])
    assert Forgotten.of(["c", "a", "z"]).among("users", vocabulary) == [0, 2]
    assert Forgotten.of(["c"]).among("items", vocabulary) == []
    assert np.array_equal(vocabulary.without(["a"]).rows(["c"]), [2])
