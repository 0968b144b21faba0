from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError, DataError, NotFoundError

ids = st.lists(st.text(max_size=4), unique=True, max_size=20)
some_ids = st.lists(st.text(max_size=4), max_size=20)
few = settings(max_examples=30, deadline=None)


@few
@given(ids)
def test_rows_are_places(names: list[str]) -> None:
    vocabulary = Vocabulary(names)
    assert vocabulary.rows(names).tolist() == list(range(len(names)))
    assert vocabulary.ids.tolist() == names
    assert vocabulary.take(np.arange(len(names))).to_list() == names


@few
@given(ids, some_ids)
def test_old_rows_never_move(old: list[str], more: list[str]) -> None:
    grown = Vocabulary(old).extend(more)
    assert grown.ids.tolist() == list(dict.fromkeys(old + more))


@few
@given(ids, st.lists(some_ids, max_size=7), some_ids)
def test_one_that_was_extended_often_is_as_one_that_was_made_whole(
    old: list[str], more: list[list[str]], asked: list[str]
) -> None:
    grown = Vocabulary(old)
    for part in more:
        grown = grown.extend(part)
    whole = Vocabulary(list(dict.fromkeys([*old, *(name for part in more for name in part)])))
    wanted = [*asked, *whole.ids[::-1], *asked]
    assert grown.rows(wanted, missing="mark").tolist() == whole.rows(wanted, "mark").tolist()
    assert grown == whole
    assert grown.digest() == whole.digest()


@few
@given(ids, some_ids)
def test_a_longer_one_proves_that_it_begins_with_the_shorter(
    old: list[str], more: list[str]
) -> None:
    vocabulary = Vocabulary(old)
    grown = vocabulary.extend(more)
    assert grown.digest(len(vocabulary)) == vocabulary.digest()
    assert grown.starts_with(vocabulary)


@few
@given(ids, ids)
def test_digests_are_equal_only_for_equal_ids(a: list[str], b: list[str]) -> None:
    assert (Vocabulary(a).digest() == Vocabulary(b).digest()) == (a == b)


def test_the_digest_is_what_it_was_when_released() -> None:
    known = "63e67e85c327649ae372afb5e0c48e042a680b1e3db1658ccfbd882f47c3f5d9"
    assert Vocabulary(["a", "b", "é"]).digest() == known


def test_another_order_is_another_vocabulary() -> None:
    assert Vocabulary(["a", "b"]).digest() != Vocabulary(["b", "a"]).digest()
    assert not Vocabulary(["b", "a", "c"]).starts_with(Vocabulary(["a", "b"]))


def test_unknown_ids_are_marked_or_raised() -> None:
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.rows(["b", "z", None, "a"], missing="mark").tolist() == [1, -1, -1, 0]
    with pytest.raises(NotFoundError, match=r"2 ids are unknown: 'z', 'y'"):
        vocabulary.rows(["z", "y", "z", "a"])


def test_a_few_ids_in_a_large_vocabulary() -> None:
    vocabulary = Vocabulary([f"i{i}" for i in range(1000)])
    assert vocabulary.rows(["i999", "no", "i0", "i999"], missing="mark").tolist() == [
        999,
        -1,
        0,
        999,
    ]


def test_integer_ids_are_strings() -> None:
    assert Vocabulary(pl.Series([5, 7])).rows(pl.Series([7])).tolist() == [1]


def test_repeats_and_nulls_are_refused() -> None:
    with pytest.raises(DataError, match="2 ids repeat: 'a'"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(DataError, match="1 of 2 ids are null"):
        Vocabulary(pl.Series(["a", None]))


def test_rows_past_the_end_are_named() -> None:
    with pytest.raises(NotFoundError, match=r"\[2, -1\]"):
        Vocabulary(["a", "b"]).take(np.array([0, 2, -1]))


def test_a_digest_of_more_rows_than_there_are() -> None:
    with pytest.raises(NotFoundError, match="Expected 0 to 1"):
        Vocabulary(["a"]).digest(2)


@pytest.mark.parametrize("names", [[], ["a", "é", "007"]])
def test_saved_ids_come_back(tmp_path: Path, names: list[str]) -> None:
    vocabulary = Vocabulary(names)
    digest = vocabulary.save(tmp_path / "ids.parquet")
    assert Vocabulary.load(tmp_path / "ids.parquet", digest) == vocabulary


def test_a_file_of_another_digest_is_refused(tmp_path: Path) -> None:
    Vocabulary(["a"]).save(tmp_path / "ids.parquet")
    with pytest.raises(ArtifactError, match="expected 000000000000"):
        Vocabulary.load(tmp_path / "ids.parquet", "0" * 64)


def test_edited_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    with pytest.raises(ArtifactError, match="is missing"):
        Vocabulary.load(path)
    Vocabulary(["a", "b"]).save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="not a whole vocabulary"):
        Vocabulary.load(path)
    metadata = {"lorarec.vocabulary.digest": Vocabulary(["a", "b"]).digest()}
    pl.DataFrame({"row": [0, 1], "id": ["a", "c"]}).write_parquet(path, metadata=metadata)
    with pytest.raises(ArtifactError, match="truncated or edited"):
        Vocabulary.load(path)
    pl.DataFrame({"row": [1, 0], "id": ["a", "b"]}).write_parquet(path, metadata=metadata)
    with pytest.raises(ArtifactError, match="truncated or edited"):
        Vocabulary.load(path)
