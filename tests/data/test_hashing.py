from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data import hashing
from lorarec.data.hashing import id_keys

ids = st.lists(st.text(max_size=5), unique=True, max_size=30)
few = settings(max_examples=40, deadline=None)


@few
@given(ids)
def test_different_ids_have_different_keys(names: list[str]) -> None:
    assert len(np.unique(id_keys(pl.Series(names, dtype=pl.String)))) == len(names)


@few
@given(ids, ids)
def test_a_key_depends_on_its_id_alone(names: list[str], others: list[str]) -> None:
    together = id_keys(pl.Series(others + names, dtype=pl.String))
    assert together[len(others) :].tolist() == id_keys(pl.Series(names, dtype=pl.String)).tolist()


def test_blocks_do_not_show(monkeypatch) -> None:
    names = pl.Series([f"i{n}" * (n % 7) for n in range(1000)])
    whole = id_keys(names)
    monkeypatch.setattr(hashing, "_BLOCK", 7)
    assert np.array_equal(id_keys(names), whole)


def test_long_ids_and_none_at_all() -> None:
    assert len(id_keys(pl.Series([], dtype=pl.String))) == 0
    a, b = id_keys(pl.Series(["x" * 100_000, "x" * 99_999 + "y"]))
    assert a != b


def test_keys_are_what_they_were_when_released() -> None:
    assert id_keys(pl.Series(["", "a", "é"])).tolist() == [
        0,
        15565445264529232784,
        8192623325849500855,
    ]
