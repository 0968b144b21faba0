"""Arms in many domains: corrected over domains, and what hurts is marked."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.errors import DataError
from lorarec.evaluation.evaluate import ArmResult, evaluate_ranking
from lorarec.evaluation.metrics import HeldOut
from lorarec.evaluation.significance import holm
from lorarec.evaluation.transfer import compare_over_domains, mean_differences

KEY = "recall_at_1"


def result(hits: np.ndarray) -> ArmResult:
    """Users whose one held-out item is found, or is not."""
    users = len(hits)
    held = HeldOut.from_pairs(np.arange(users), np.zeros(users, int), users)
    return evaluate_ranking(np.where(hits, 0, 1)[:, None], held, (1,), resamples=1)


def domains() -> dict[str, dict[str, ArmResult]]:
    """An arm that helps in one domain, hurts in another, and does nothing in five."""
    rng = np.random.default_rng(0)
    found = {}
    for name, base, arm in [("up", 0.2, 0.6), ("down", 0.6, 0.2)] + [
        (f"d{n}", 0.4, 0.4) for n in range(5)
    ]:
        found[name] = {
            "base": result(rng.random(200) < base),
            "lora": result(rng.random(200) < arm),
        }
    return found


def test_only_what_is_beyond_chance_is_better_or_worse() -> None:
    found = compare_over_domains(domains(), "base", [KEY], resamples=50)
    verdicts = {d.domain: d.verdict for d in found}
    assert (verdicts.pop("up"), verdicts.pop("down")) == ("better", "worse")
    assert set(verdicts.values()) == {"level"}


def test_p_values_are_holms_and_intervals_wider_than_one_domains_own() -> None:
    results = domains()
    found = compare_over_domains(results, "base", [KEY])
    np.testing.assert_allclose([d.adjusted for d in found], holm([d.p_value for d in found]))
    alone = compare_over_domains({"up": results["up"]}, "base", [KEY])[0]
    among = next(d for d in found if d.domain == "up")
    assert among.interval.mean == alone.interval.mean
    assert among.interval.low < alone.interval.low
    assert among.interval.high > alone.interval.high


def test_a_domain_without_the_arm_is_not_in_its_family() -> None:
    results = domains()
    del results["d0"]["lora"]
    found = compare_over_domains(results, "base", [KEY], resamples=50)
    assert [d.domain for d in found] == ["up", "down", "d1", "d2", "d3", "d4"]


def test_few_resamples_are_made_enough_for_the_correction() -> None:
    assert {d.verdict for d in compare_over_domains(domains(), "base", [KEY], resamples=1)} == {
        "better",
        "worse",
        "level",
    }


def test_the_mean_is_over_domains_not_users() -> None:
    results = {
        "large": {"base": result(np.zeros(300, bool)), "lora": result(np.zeros(300, bool))},
        "small": {"base": result(np.zeros(10, bool)), "lora": result(np.ones(10, bool))},
    }
    assert mean_differences(results, "base", [KEY])["lora"][KEY].mean == 0.5


def test_arms_of_other_users_are_refused() -> None:
    results = {"d": {"base": result(np.ones(3, bool)), "lora": result(np.ones(4, bool))}}
    with pytest.raises(DataError, match="other users"):
        compare_over_domains(results, "base", [KEY])
