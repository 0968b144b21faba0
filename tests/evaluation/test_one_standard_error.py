"""The one-standard-error rule, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.errors import DataError
from lorarec.evaluation.one_standard_error import smallest_within, standard_error, standings


def test_the_standard_error_is_the_sample_deviation_over_root_m() -> None:
    assert standard_error([0.0, 1.0, 1.0, 0.0]) == pytest.approx(math.sqrt(1 / 3) / 2)


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]]])
def test_fewer_than_two_users_have_none(values: list[float]) -> None:
    with pytest.raises(DataError, match="two users"):
        standard_error(values)


def test_users_are_paired() -> None:
    """Users differ a lot and settings by a constant: that is no noise."""
    hard = np.linspace(0.0, 1.0, 50)
    found = standings({1: hard - 0.001, 8: hard})
    assert found[1].behind == pytest.approx(0.001)
    assert found[1].error > 0.01 > found[1].behind_error
    assert smallest_within(found) == 8


def test_the_smallest_within_one_error_of_the_best_is_taken() -> None:
    best = np.array([1.0, 1.0, 0.0, 1.0])
    near = np.array([1.0, 0.0, 1.0, 1.0])  # behind by 0, ± √(2/3)/2
    far = np.array([0.0, 0.0, 0.0, 0.0])  # behind by .75 ± .25
    found = standings({1: far, 4: near, 2: best})
    assert [found[k].within for k in (1, 2, 4)] == [False, True, True]
    assert found[4].behind_error == pytest.approx(math.sqrt(2 / 3) / 2)
    assert smallest_within(found) == 2


def test_of_equal_bests_the_smallest_is_held_against() -> None:
    same = np.array([0.0, 1.0])
    found = standings({8: same, 2: same})
    assert found[2].behind == found[8].behind == 0
    assert smallest_within(found) == 2


def test_something_else_may_be_the_best() -> None:
    found = standings({1: np.zeros(4)}, np.ones(4))
    assert (found[1].behind, found[1].within) == (1.0, False)


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(DataError, match="no setting"):
        standings({})


@given(
    st.dictionaries(
        st.integers(1, 64),
        st.lists(st.floats(0, 1), min_size=5, max_size=5).map(np.array),
        min_size=1,
    )
)
def test_what_is_chosen_is_within_and_never_above_the_best(
    values: dict[int, np.ndarray],
) -> None:
    found = standings(values)
    chosen = smallest_within(found)
    best = max(sorted(values), key=lambda setting: float(values[setting].mean()))
    assert chosen <= best
    assert found[chosen].within
    assert not any(found[k].within for k in values if k < chosen)
