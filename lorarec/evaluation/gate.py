"""Whether a challenger becomes the champion: measured values in, a verdict with its reasons out.

One function decides for everyone who asks: the command line, a pipeline, a notebook. It reads no
file and no store, and the same values give the same verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lorarec.config import Gate
from lorarec.errors import DataError, NotFoundError, did_you_mean
from lorarec.evaluation.evaluate import ArmResult, compare
from lorarec.evaluation.metrics import METRICS, metric_key
from lorarec.evaluation.significance import Interval

CHALLENGER, CHAMPION, BASE = "challenger", "champion", "base"
PROMOTE, KEEP_CHAMPION, KEEP_BASE = "promote", "keep-champion", "keep-base"
Decision = Literal["promote", "keep-champion", "keep-base"]


@dataclass(frozen=True)
class Check:
    """One thing that was asked of the challenger.

    Attributes:
        name: Such as `beats base`, `slice new_users`, `size` or `latency`.
        found: What was measured: a mean difference, bytes or milliseconds; None where there was
            nothing to measure.
        low, high: Ends of the interval of a difference; None for what has none.
        asked: The bound, in words, such as `above 0`.
        passed: Whether it holds; None where it decides nothing.
        why: Why it decides nothing, or a word more; empty where there is none.
    """

    name: str
    found: float | None
    low: float | None
    high: float | None
    asked: str
    passed: bool | None
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why.

    Attributes:
        decision: `promote`; or `keep-champion`; or `keep-base` where no champion serves, or where
            one does that is clearly worse than the bare base.
        metric: Key of the metric that was compared, such as `recall_at_20`.
        users: On how many users.
        arms: Mean and interval of the metric by arm.
        checks: All that was asked, in order; the challenger passes when none of them failed.
        base_over_champion: Mean difference of base minus champion with its interval; None where
            there is no champion or no base to compare.
    """

    decision: Decision
    metric: str
    users: int
    arms: dict[str, Interval]
    checks: tuple[Check, ...]
    base_over_champion: Interval | None = None

    @property
    def passed(self) -> bool:
        """Whether the challenger is to be promoted."""
        return self.decision == PROMOTE

    @property
    def failed(self) -> list[Check]:
        """The reasons of a no."""
        return [check for check in self.checks if check.passed is False]

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        rival = self.base_over_champion
        return {
            "decision": self.decision,
            "metric": self.metric,
            "users": self.users,
            "arms": {name: asdict(interval) for name, interval in self.arms.items()},
            "checks": [asdict(check) for check in self.checks],
            "base_over_champion": None if rival is None else asdict(rival),
        }


def decide(
    policy: Gate,
    arms: Mapping[str, ArmResult],
    *,
    size: int | None = None,
    latency: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Verdict:
    """Decide whether the challenger is promoted.

    A rival is beaten where the lower end of the paired interval of challenger minus rival, by the
    percentile bootstrap over users (Efron and Tibshirani 1993), is above `min_effect`. A slice
    holds where its mean has not fallen by more than `max_drop` below that of what serves now. A
    champion that must be beaten and is not there yet is passed over.

    Args:
        policy: What is asked for.
        arms: Results by `challenger` and, as far as they are there, `champion`, `base` and
            `popularity`, all of the same users.
        size: Bytes of the challenger on disk.
        latency: Milliseconds of the 95th percentile, as measured for `max_latency`.
        resamples: Of the paired bootstrap.
        seed: Of the resamples.

    Raises:
        NotFoundError: The metric is unknown or was not measured.
        DataError: There is no challenger or no rival that must be beaten, arms have other users,
            or a bound was set on what was not measured.
    """
    if policy.metric_name not in METRICS:
        close = did_you_mean(policy.metric_name, METRICS)
        raise NotFoundError(f"There is no metric {policy.metric_name!r} for gate.metric.{close}")
    key = metric_key(policy.metric_name, policy.cut)
    challenger = _measured(arms, CHALLENGER, key)

    def minus(arm: str, other: str) -> Interval:
        found = compare(
            {arm: arms[arm], other: arms[other]},
            other,
            metrics=[key],
            resamples=resamples,
            seed=seed,
            confidence=policy.confidence,
        )
        return found[arm][key].interval

    checks = []
    for rival in policy.must_beat:
        if rival == CHAMPION and CHAMPION not in arms:
            asked = _above(policy.min_effect)
            checks.append(Check(f"beats {rival}", None, None, None, asked, None, "none yet"))
            continue
        _measured(arms, rival, key)
        checks.append(_beats(rival, minus(CHALLENGER, rival), policy.min_effect))
    serving = CHAMPION if CHAMPION in arms else BASE
    if policy.max_drop is not None:
        checks += _slices(policy, challenger, _measured(arms, serving, key), serving, key)
    if policy.max_size is not None:
        checks.append(_at_most("size", size, policy.max_size, "bytes"))
    if policy.max_latency is not None:
        checks.append(_at_most("latency", latency, policy.max_latency, "ms"))
    base_over_champion = minus(BASE, CHAMPION) if CHAMPION in arms and BASE in arms else None
    if all(check.passed is not False for check in checks):
        decision: Decision = "promote"
    elif serving == BASE or (base_over_champion is not None and base_over_champion.low > 0):
        decision = "keep-base"
    else:
        decision = "keep-champion"
    means = {arm: result.intervals[key] for arm, result in arms.items()}
    return Verdict(decision, key, challenger.counts.users, means, tuple(checks), base_over_champion)


def _measured(arms: Mapping[str, ArmResult], arm: str, key: str) -> ArmResult:
    if arm not in arms:
        raise DataError(
            f"The gate asks for the arm {arm!r}, which was not measured; there are "
            f"{', '.join(arms) or 'none'}. Measure it, or leave it out of gate.must_beat."
        )
    if key not in arms[arm].per_user:
        close = did_you_mean(key, arms[arm].per_user)
        raise NotFoundError(f"Arm {arm!r} has no metric {key!r} for gate.metric.{close}")
    return arms[arm]


def _beats(rival: str, gain: Interval, bound: float) -> Check:
    passed = gain.low > bound
    return Check(f"beats {rival}", gain.mean, gain.low, gain.high, _above(bound), passed)


def _above(bound: float) -> str:
    return f"lower end above {bound:g}"


def _slices(
    policy: Gate, challenger: ArmResult, rival: ArmResult, serving: str, key: str
) -> list[Check]:
    """One check a slice that both arms have; the means are over the same users."""
    assert policy.max_drop is not None
    found = []
    for name, metrics in challenger.segments.items():
        other = rival.segments.get(name, {})
        if key not in metrics or key not in other:
            continue
        gain, users = metrics[key].mean - other[key].mean, metrics[key].n
        few = users < policy.min_slice_users
        why = f"{users} users, fewer than {policy.min_slice_users}" if few else f"{users} users"
        found.append(
            Check(
                f"slice {name}",
                gain,
                None,
                None,
                f"at least {-policy.max_drop:g} of {serving}",
                None if few else gain >= -policy.max_drop,
                why,
            )
        )
    return found


def _at_most(name: str, value: float | None, bound: float, unit: str) -> Check:
    if value is None or not math.isfinite(value):
        raise DataError(
            f"The gate bounds the {name} (gate.max_{name} = {bound:g}), which was not measured. "
            f"Expected a finite number of {unit}."
        )
    return Check(name, float(value), None, None, f"at most {bound:,} {unit}", value <= bound)
