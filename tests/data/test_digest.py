from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.digest import hash_numbers, hash_strings


def _strings(values: list[str | None]) -> str:
    digest = hashlib.sha256()
    hash_strings(digest, pl.Series(values, dtype=pl.String))
    return digest.hexdigest()


def _numbers(values: list[int | None]) -> str:
    digest = hashlib.sha256()
    hash_numbers(digest, pl.Series(values, dtype=pl.Int64), "<i8")
    return digest.hexdigest()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | st.text(max_size=3)), st.lists(st.none() | st.text(max_size=3)))
def test_different_columns_differ(a: list[str | None], b: list[str | None]) -> None:
    assert (_strings(a) == _strings(b)) == (a == b)


def test_where_a_text_ends_matters() -> None:
    assert _strings(["ab", "c"]) != _strings(["a", "bc"])


def test_null_is_neither_empty_nor_zero() -> None:
    assert _strings([None]) != _strings([""])
    assert _numbers([None]) != _numbers([0])
