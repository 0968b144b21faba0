from __future__ import annotations

import json

import numpy as np

from lorarec.evaluation.evaluate import compare, evaluate_ranking
from lorarec.evaluation.metrics import HeldOut
from lorarec.evaluation.report import comparison_rows, segment_rows

HELD_OUT = HeldOut.from_pairs([0, 1], [1, 2], 2)
RESULTS = {
    "popularity": evaluate_ranking([[1], [1]], HELD_OUT, (1,), name="popularity"),
    "lora": evaluate_ranking(
        [[1], [2]], HELD_OUT, (1,), name="lora", parameters=8, cold=[True, False]
    ),
}


def test_a_row_an_arm_in_the_order_given():
    rows = comparison_rows(RESULTS)
    assert [row["arm"] for row in rows] == ["popularity", "lora"]
    assert [row["parameters"] for row in rows] == [None, 8]
    assert [row["recall_at_1"] for row in rows] == [0.5, 1.0]
    assert rows[1]["recall_at_1_low"] == rows[1]["recall_at_1_high"] == 1.0


def test_all_rows_have_the_same_columns():
    rows = comparison_rows(RESULTS, compare(RESULTS, "popularity"), ["recall_at_1", "mrr_at_3"])
    assert list(rows[0]) == list(rows[1])
    assert rows[0]["recall_at_1_difference"] is None
    assert rows[1]["recall_at_1_difference"] == 0.5
    assert rows[1]["mrr_at_3"] is None


def test_rows_are_plain_json():
    rows = comparison_rows(RESULTS, compare(RESULTS, "popularity"))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_segments_stand_in_rows_of_their_own():
    rows = segment_rows(RESULTS, "recall_at_1")
    assert [(row["arm"], row["segment"], row["users"]) for row in rows] == [
        ("lora", "known_users", 1),
        ("lora", "new_users", 1),
    ]
    assert np.isfinite([row["recall_at_1"] for row in rows]).all()
