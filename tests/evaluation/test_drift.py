"""Drift between what was trained on and what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.errors import DataError
from lorarec.evaluation.drift import divergence, drift


def test_divergence_by_hand():
    assert divergence([1, 1], [5, 5]) == pytest.approx(0)
    assert divergence([1, 0], [0, 3]) == pytest.approx(1)
    # M = (3/4, 1/4): H(M) - (0 + 1) / 2.
    mixed = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)) - 0.5
    assert divergence([2, 0], [1, 1]) == pytest.approx(mixed)
    assert divergence([1, 1], [2, 0]) == pytest.approx(mixed)


def test_a_sample_of_train_drifts_by_chance_alone_and_a_shifted_one_by_more():
    rng = np.random.default_rng(0)
    train = rng.integers(1, 40, 300)
    same = drift(train, rng.multinomial(500, train / train.sum()), 0.25)
    assert same.items == pytest.approx(same.items_by_chance, rel=0.15)
    assert (same.new_item_rows, same.new_users) == (0.0, 0.25)
    shifted = drift(train, np.roll(rng.multinomial(500, train / train.sum()), 7), 0.25)
    assert shifted.items > 1.5 * shifted.items_by_chance


def test_rows_of_items_that_train_never_had_are_counted():
    assert drift([3, 1, 0], [1, 1, 2], 0.0).new_item_rows == 0.5


def test_a_part_without_rows_is_refused():
    with pytest.raises(DataError, match="sums 1 and 0"):
        divergence([1], [0])
