"""Arms against a baseline in many domains: Holm's correction, and negative transfer marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError
from lorarec.evaluation.evaluate import ArmResult
from lorarec.evaluation.significance import (
    Interval,
    bootstrap_means,
    holm,
    intervals_of,
    mean_over_domains,
    two_sided_p_value,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DomainDifference:
    """An arm minus the baseline on one metric in one domain, paired by user.

    Attributes:
        domain: Its name.
        arm: The arm's name.
        metric: Metric key, such as `recall_at_20`.
        interval: Mean difference, and a percentile interval at the level that Holm's procedure
            tests this domain at: wider than one of this domain alone.
        p_value: Two-sided, of this domain alone.
        adjusted: Holm's, over the domains.
        verdict: `better` or `worse` where `adjusted` is at most 1 - confidence, else `level`.
            `worse` is negative transfer.
    """

    domain: str
    arm: str
    metric: str
    interval: Interval
    p_value: float
    adjusted: float
    verdict: Literal["better", "worse", "level"]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare_over_domains(
    results: Mapping[str, Mapping[str, ArmResult]],
    baseline: str,
    metrics: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[DomainDifference]:
    """Each arm minus the baseline in each domain that has both; a family is an arm and a metric.

    With q domains, the j-th smallest p-value is tested at α / (q - j + 1) (Holm 1979), and its
    interval covers 1 minus that.

    Args:
        results: By domain, by arm.
        baseline: The arm that is subtracted.
        metrics: Metric keys.
        resamples: Of the paired bootstrap; at least 4 q / α are drawn, as with B of them no
            p-value is below 2 / (B + 1), and q times that would say nothing.
        seed: Of the resamples.
        confidence: 1 - α, between 0 and 1.

    Raises:
        DataError: An arm has other users than the baseline.
    """
    found = []
    for arm, metric, differences in _families(results, baseline, metrics):
        columns = {name: values[:, None] for name, values in differences.items()}
        draws = max(resamples, math.ceil(4 * len(columns) / (1 - confidence)))
        means = {name: bootstrap_means(own, draws, seed) for name, own in columns.items()}
        p_values = np.array([two_sided_p_value(own[:, 0]) for own in means.values()])
        adjusted = holm(p_values)
        place = np.argsort(np.argsort(p_values, kind="stable"))
        for n, (domain, own) in enumerate(columns.items()):
            level = 1 - (1 - confidence) / (len(columns) - int(place[n]))
            interval = intervals_of(own, means[domain], level)[0]
            sure = adjusted[n] <= 1 - confidence and interval.mean != 0
            verdict: Literal["better", "worse", "level"] = "level"
            if sure:
                verdict = "better" if interval.mean > 0 else "worse"
            found.append(
                DomainDifference(
                    domain, arm, metric, interval, float(p_values[n]), float(adjusted[n]), verdict
                )
            )
    return found


def mean_differences(
    results: Mapping[str, Mapping[str, ArmResult]],
    baseline: str,
    metrics: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, dict[str, Interval]]:
    """The mean over domains of each arm minus the baseline: by arm, by metric key."""
    found: dict[str, dict[str, Interval]] = {}
    for arm, metric, differences in _families(results, baseline, metrics):
        interval = mean_over_domains(
            list(differences.values()), resamples=resamples, seed=seed, confidence=confidence
        )
        found.setdefault(arm, {})[metric] = interval
    return found


def _families(
    results: Mapping[str, Mapping[str, ArmResult]], baseline: str, metrics: Sequence[str]
) -> list[tuple[str, str, dict[str, Floats]]]:
    """Arm, metric, and by domain each user's difference."""
    both = {domain: arms for domain, arms in results.items() if baseline in arms}
    names = dict.fromkeys(arm for arms in both.values() for arm in arms if arm != baseline)
    for domain, arms in both.items():
        for arm, result in arms.items():
            if not np.array_equal(result.users, arms[baseline].users):
                raise DataError(
                    f"Arm {arm!r} has other users than {baseline!r} in {domain!r}. Expected one "
                    f"evaluation for both; run it again."
                )
    return [
        (
            arm,
            metric,
            {
                domain: arms[arm].per_user[metric] - arms[baseline].per_user[metric]
                for domain, arms in both.items()
                if arm in arms
            },
        )
        for arm in names
        for metric in metrics
    ]
