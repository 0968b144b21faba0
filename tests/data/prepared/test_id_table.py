"""A hash table over arrays gives the numbers that a dictionary would."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.prepared.id_table import IdTable

Array = np.ndarray[Any, Any]
KEYS = st.lists(
    st.one_of(
        # Few first hashes for many keys, so that probing has work to do.
        st.integers(0, 60).map(lambda n: (n % 5 << 61 | n % 5, n)),
        st.integers(0, 2**64 - 1).map(lambda n: (n, n * 0x9E3779B97F4A7C15 % 2**64)),
    )
)


def arrays(keys: list[tuple[int, int]]) -> tuple[Array, Array]:
    first = np.array([key[0] for key in keys], dtype=np.uint64)
    return first, np.array([key[1] for key in keys], dtype=np.uint64)


@given(st.lists(KEYS, max_size=6), KEYS)
@settings(max_examples=150)
def test_numbers_are_those_of_a_dictionary_in_order_of_appearance(
    batches: list[list[tuple[int, int]]], asked: list[tuple[int, int]]
) -> None:
    table, known = IdTable(), dict[tuple[int, int], int]()
    for batch in batches:
        fresh = [key for key in batch if key not in known]
        numbers, places = table.add(*arrays(fresh))
        before = len(known)
        for key in fresh:
            known.setdefault(key, len(known))
        assert numbers.tolist() == [known[key] for key in fresh]
        assert [known[fresh[place]] for place in places] == list(range(before, len(known)))
    wanted = [*known, *asked]
    assert table.find(*arrays(wanted)).tolist() == [known.get(key, -1) for key in wanted]
    assert len(table) == len(known)


def test_keys_with_one_first_hash_stay_apart_while_the_table_grows() -> None:
    table = IdTable()
    first, second = np.zeros(5000, np.uint64), np.arange(5000, dtype=np.uint64)
    for start in range(0, 5000, 1000):
        table.add(first[start : start + 1000], second[start : start + 1000])
    assert (table.find(first, second) == np.arange(5000)).all()


def test_no_key_that_is_here_is_missing_among_the_candidates() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2**64, (2, 20_000), dtype=np.uint64)
    table = IdTable()
    table.add(first[:1000], second[:1000])
    near = table.candidates(first)
    assert set(range(1000)) <= set(near.tolist())
    assert len(near) < 1000 + 19_000 // 5
