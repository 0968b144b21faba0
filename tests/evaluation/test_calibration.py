"""Scores of domains on one axis."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lorarec.errors import DataError
from lorarec.evaluation.calibration import ScoreSample, calibration


def sample(shift: float = 0.0, scale: float = 1.0) -> ScoreSample:
    rng = np.random.default_rng(0)
    return ScoreSample.of(
        scale * rng.normal(1 + shift, 1, 4000), scale * rng.normal(shift, 1, 4000)
    )


def test_equal_domains_have_no_gap() -> None:
    found = calibration({"books": sample(), "games": sample()})
    assert found.gaps == {"books": 0.0, "games": 0.0}


def test_a_domain_whose_scores_are_shifted_has_a_gap_and_is_too_sure_of_itself() -> None:
    found = calibration({"books": sample(), "games": sample(shift=2.0)})
    assert min(found.gaps.values()) > 0.1
    both = np.isfinite(found.rates["books"]) & np.isfinite(found.rates["games"])
    assert (found.rates["games"][both] <= found.rates["books"][both]).all()


def test_the_rate_is_what_bayes_says() -> None:
    # Two normals of variance 1 a distance 1 apart: P(held out | s) = 1 / (1 + exp(0.5 - s)).
    found = calibration({"books": sample()})
    middle = (found.edges[4] + found.edges[5]) / 2
    assert found.rates["books"][4] == pytest.approx(1 / (1 + np.exp(0.5 - middle)), abs=0.06)


def test_scores_that_are_all_equal_say_nothing() -> None:
    level = ScoreSample.of(np.zeros(5), np.zeros(5))
    found = calibration({"books": level})
    assert found.rates["books"].tolist() == [0.5]


def test_what_is_recorded_reads_back_the_same() -> None:
    one = sample()
    again = ScoreSample.from_json(json.loads(json.dumps(one.to_json())))
    np.testing.assert_array_equal(again.held_out, one.held_out)
    np.testing.assert_array_equal(again.drawn, one.drawn)
    assert again.pairs == 4000


def test_scores_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="as many"):
        ScoreSample.of([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="not finite"):
        ScoreSample.of([float("nan")], [1.0])
    with pytest.raises(DataError, match="no domain"):
        calibration({})
