"""Slices of items and users, novelty and popularity bias, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.errors import DataError
from lorarec.evaluation.evaluate import evaluate_ranking
from lorarec.evaluation.metrics import HeldOut
from lorarec.evaluation.popularity_bias import novelty_at, popularity_bias_at
from lorarec.evaluation.slices import held_out_among, item_slices, user_slices


def test_head_mid_and_tail_hold_a_third_of_the_rows_each():
    slices = item_slices([1, 6, 2, 3, 4, 2])  # by popularity the first rows: 0, 6, 10, 13, 15, 17
    assert np.flatnonzero(slices["head_items"]).tolist() == [1]
    assert np.flatnonzero(slices["mid_items"]).tolist() == [3, 4]
    assert np.flatnonzero(slices["tail_items"]).tolist() == [0, 2, 5]


def test_every_item_is_in_one_slice_and_items_without_rows_in_the_tail():
    slices = item_slices(np.r_[np.arange(50), 0, 0])
    assert (sum(mask.astype(int) for mask in slices.values()) == 1).all()
    assert slices["tail_items"][[0, 50, 51]].all()
    assert item_slices([0, 0])["tail_items"].all()


def test_an_item_without_a_number_of_rows_is_named():
    with pytest.raises(DataError, match=r"first: \[1\]"):
        item_slices([1.0, np.nan])


def test_users_of_equal_activity_stay_together_and_new_ones_are_in_no_tercile():
    slices = user_slices([0, 1, 1, 2, 2, 5, 9])
    assert np.flatnonzero(slices["quiet_users"]).tolist() == [1, 2]
    assert np.flatnonzero(slices["middling_users"]).tolist() == [3, 4]
    assert np.flatnonzero(slices["active_users"]).tolist() == [5, 6]


def test_what_is_held_out_of_a_slice_leaves_items_beyond_the_catalogue_out():
    held = HeldOut.from_pairs([0, 0, 0, 1], [0, 2, 9, -1], 2)
    found = held_out_among(held, np.array([True, False, True]))
    assert (found.sizes.tolist(), found.rows.tolist()) == ([2, 0], [0, 2])


def test_recall_of_a_slice_is_over_its_own_held_out_items():
    # Item 0 is the head, 2 the mid, 1 the tail.
    held = HeldOut.from_pairs([0, 0, 1], [0, 1, 1], 2)
    ranked = [[0, 2, -1], [1, 0, 2]]
    found = evaluate_ranking(
        ranked, held, (1, 3), popularity=[3, 1, 2], activity=[4, 1], resamples=5
    )
    assert found.segments["head_items"]["recall_at_1"].mean == 1.0
    assert found.segments["head_items"]["recall_at_1"].n == 1
    assert found.segments["tail_items"]["recall_at_3"].mean == 0.5
    assert "mid_items" not in found.segments
    assert found.segments["middling_users"]["recall_at_3"].mean == 0.5
    assert found.segments["quiet_users"]["recall_at_3"].mean == 1.0
    assert "map_at_1" not in found.segments["head_items"]


def test_novelty_is_the_mean_self_information():
    assert novelty_at([[0, 1], [0, -1]], [4, 2, 2], 2) == pytest.approx((1 + 2 + 1) / 3)
    assert np.isnan(novelty_at([[-1]], [4], 1))


def test_popularity_bias_is_one_where_recommendations_are_what_was_taken():
    held = HeldOut.from_pairs([0, 1], [0, 2], 2)
    assert popularity_bias_at([[0], [2]], held, [4, 2, 2], 1) == 1.0
    assert popularity_bias_at([[0], [0]], held, [4, 2, 2], 1) == pytest.approx(4 / 3)


def test_activity_of_other_users_is_refused():
    held = HeldOut.from_pairs([0], [0], 1)
    with pytest.raises(DataError, match="activity has shape"):
        evaluate_ranking([[0]], held, (1,), activity=[1, 2])


def test_popularity_of_fewer_items_than_are_recommended_is_refused():
    held = HeldOut.from_pairs([0], [0], 1)
    with pytest.raises(DataError, match="item row 3, popularity is of 2"):
        evaluate_ranking([[3]], held, (1,), popularity=[1, 2])
