"""The gate: measured values in, a verdict with its reasons out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lorarec.config import Gate
from lorarec.errors import DataError, NotFoundError
from lorarec.evaluation.evaluate import ArmResult, evaluate_ranking
from lorarec.evaluation.gate import decide
from lorarec.evaluation.metrics import HeldOut

USERS = 200
COLD = np.arange(USERS) < 60


def arm(hits: Any, cold: Any = COLD) -> ArmResult:
    """An arm that finds the one held-out item of the users in `hits` (bool, one a user)."""
    found = np.where(hits, 0, 1)[:, None]
    held_out = HeldOut.from_pairs(np.arange(len(found)), np.zeros(len(found), int), len(found))
    return evaluate_ranking(found, held_out, (1,), cold=cold, resamples=50)


def policy(**given: Any) -> Gate:
    return Gate(**{"metric": "recall@1", **given})


GOOD = np.arange(USERS) % 2 == 0
WORSE = np.arange(USERS) % 4 == 0  # finds half of what GOOD finds, and nothing more


def test_a_clear_gain_over_all_rivals_is_promoted() -> None:
    arms = {"challenger": arm(GOOD), "champion": arm(WORSE), "base": arm(WORSE)}
    found = decide(policy(), arms)
    assert found.decision == "promote"
    assert found.passed
    assert [check.name for check in found.checks] == ["beats champion", "beats base"]
    assert found.checks[0].found == pytest.approx(0.25)
    assert found.users == USERS


def test_the_first_adapter_needs_to_beat_the_base_alone() -> None:
    found = decide(policy(), {"challenger": arm(GOOD), "base": arm(WORSE)})
    assert found.passed
    assert found.checks[0].passed is None
    assert found.checks[0].why == "none yet"


def test_an_adapter_that_is_the_same_is_no_better() -> None:
    found = decide(policy(), {"challenger": arm(GOOD), "champion": arm(GOOD), "base": arm(WORSE)})
    assert found.decision == "keep-champion"
    assert [check.name for check in found.failed] == ["beats champion"]


def test_keep_the_base_where_nothing_beats_it() -> None:
    assert decide(policy(), {"challenger": arm(WORSE), "base": arm(GOOD)}).decision == "keep-base"
    arms = {"challenger": arm(WORSE), "champion": arm(WORSE), "base": arm(GOOD)}
    found = decide(policy(), arms)
    assert found.decision == "keep-base"  # the champion is clearly worse than the base too
    assert found.base_over_champion is not None
    assert found.base_over_champion.low > 0


def test_users_are_paired() -> None:
    """The same means that differ user by user the other way tell nothing."""
    shifted = np.roll(GOOD, 1)
    better = GOOD.copy()
    better[np.flatnonzero(~GOOD)[:12]] = True  # 6 % of the users more, and none less
    beats_paired = decide(
        policy(must_beat=["base"]), {"challenger": arm(better), "base": arm(GOOD)}
    )
    beats_other = decide(
        policy(must_beat=["base"]), {"challenger": arm(better), "base": arm(shifted)}
    )
    assert beats_paired.arms["base"].mean == beats_other.arms["base"].mean
    assert (beats_paired.passed, beats_other.passed) == (True, False)


@pytest.mark.parametrize(("effect", "passed"), [(0.0, True), (0.1, True), (0.3, False)])
def test_the_gain_must_be_above_the_least_effect(effect: float, passed: bool) -> None:
    arms = {"challenger": arm(GOOD), "base": arm(WORSE)}
    assert decide(policy(min_effect=effect, must_beat=["base"]), arms).passed is passed


def test_below_zero_the_least_effect_lets_in_what_is_hardly_worse() -> None:
    arms = {"challenger": arm(GOOD), "champion": arm(GOOD), "base": arm(WORSE)}
    assert not decide(policy(), arms).passed
    assert decide(policy(min_effect=-0.01), arms).passed


def test_more_confidence_asks_for_more() -> None:
    better = WORSE.copy()
    better[np.flatnonzero(~WORSE)[:4]] = True
    arms = {"challenger": arm(better), "base": arm(WORSE)}
    assert decide(policy(confidence=0.9, must_beat=["base"]), arms).passed
    assert not decide(policy(confidence=0.999, must_beat=["base"]), arms).passed


def test_a_slice_that_falls_too_far_refuses_a_gain_over_all() -> None:
    champion = GOOD & COLD  # knows nothing but the new users
    challenger = ~COLD
    arms = {"challenger": arm(challenger), "champion": arm(champion), "base": arm(champion)}
    assert decide(policy(), arms).passed
    found = decide(policy(max_drop=0.1), arms)
    assert found.decision == "keep-champion"
    assert [check.name for check in found.failed] == ["slice new_users"]
    assert found.failed[0].found == pytest.approx(-0.5)
    assert "of champion" in found.failed[0].asked
    assert decide(policy(max_drop=0.5), arms).passed


def test_a_slice_of_few_users_is_shown_and_decides_nothing() -> None:
    few = np.arange(USERS) < 5
    arms = {"challenger": arm(~few, few), "base": arm(GOOD | few, few)}
    found = decide(policy(max_drop=0.1), arms)
    shown = {check.name: check for check in found.checks}["slice new_users"]
    assert shown.found == -1.0
    assert shown.passed is None
    assert "5 users" in shown.why
    assert found.passed
    assert not decide(policy(max_drop=0.1, min_slice_users=5), arms).passed


@pytest.mark.parametrize(
    ("bound", "given"), [("max_size", {"size": 1000}), ("max_latency", {"latency": 1000.0})]
)
def test_size_and_latency_are_bounded(bound: str, given: dict[str, Any]) -> None:
    arms = {"challenger": arm(GOOD), "base": arm(WORSE)}
    assert decide(policy(**{bound: 1000}), arms, **given).passed
    found = decide(policy(**{bound: 999}), arms, **given)
    assert [check.name for check in found.failed] == [bound.removeprefix("max_")]
    with pytest.raises(DataError, match=f"gate.{bound}"):
        decide(policy(**{bound: 999}), arms)


def test_what_must_be_beaten_must_be_measured() -> None:
    with pytest.raises(DataError, match="'base', which was not measured"):
        decide(policy(), {"challenger": arm(GOOD)})
    with pytest.raises(DataError, match="'challenger', which was not measured"):
        decide(policy(), {"base": arm(GOOD)})
    with pytest.raises(DataError, match="not the same"):
        decide(policy(), {"challenger": arm(GOOD), "base": arm(GOOD[:100], COLD[:100])})


def test_an_unknown_metric_gets_the_nearest() -> None:
    arms = {"challenger": arm(GOOD), "base": arm(WORSE)}
    with pytest.raises(NotFoundError, match="Did you mean 'recall'"):
        decide(Gate(metric="recal@1"), arms)
    with pytest.raises(NotFoundError, match="recall_at_1"):
        decide(Gate(metric="recall@7"), arms)


def test_the_same_values_give_the_same_verdict_and_it_is_plain_json() -> None:
    arms = {"challenger": arm(GOOD), "champion": arm(WORSE), "base": arm(WORSE)}
    first, second = (decide(policy(max_drop=0.1), arms, seed=3) for _ in range(2))
    assert first == second
    found = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert found["decision"] == "promote"
    assert found["arms"]["challenger"]["mean"] == 0.5
