from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lorarec.training.schedule import step_scale


def test_by_default_every_step_has_the_same_size() -> None:
    assert {step_scale(step, 50) for step in range(60)} == {1.0}


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_warm_up_rises_linearly_to_one(decay: Any) -> None:
    scales = [step_scale(step, 100, 0.1, decay) for step in range(10)]
    assert scales == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert step_scale(10, 100, 0.1, decay) == 1.0


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.5), ("cosine", 0.5)])
def test_decay_goes_from_one_to_nothing(decay: Any, middle: float) -> None:
    scales = [step_scale(step, 101, 0.0, decay) for step in range(102)]
    assert scales[0] == 1.0
    assert step_scale(50, 100, 0.0, decay) == pytest.approx(middle)
    assert scales[-1] == pytest.approx(0.0)
    assert all(a > b for a, b in pairwise(scales))


def test_cosine_is_flat_at_both_ends_and_linear_is_not() -> None:
    assert step_scale(10, 100, 0.0, "cosine") > step_scale(10, 100, 0.0, "linear")
    assert step_scale(90, 100, 0.0, "cosine") < step_scale(90, 100, 0.0, "linear")


def test_more_steps_than_planned_stay_at_the_end() -> None:
    assert step_scale(120, 100, 0.0, "linear") == 0.0
