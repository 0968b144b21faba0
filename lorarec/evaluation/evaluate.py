"""One arm evaluated, and arms compared: the same users, the same resamples, nothing dropped unsaid.

Users without held-out items are left out and counted; users without recommendations count 0; users
that training never saw are a segment of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError, NotFoundError, did_you_mean
from lorarec.evaluation.metrics import (
    METRICS,
    HeldOut,
    catalogue_coverage_at,
    match,
    metric_key,
    user_coverage,
)
from lorarec.evaluation.popularity_bias import novelty_at, popularity_bias_at
from lorarec.evaluation.significance import (
    Interval,
    bootstrap_means,
    intervals_of,
    two_sided_p_value,
)
from lorarec.evaluation.slices import held_out_among, item_slices, user_slices

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLICED = ("recall", "recall_min", "ndcg")
"""Metrics of slices of items."""
RECALL_DENOMINATOR = "held-out"
"""What `recall_at_*` divides by: all held-out items. `recall_min_at_*` divides by min(k, |H|)."""


@dataclass(frozen=True)
class Counts:
    """Who and what was counted.

    Attributes:
        users: Evaluated users: those with held-out items.
        without_held_out: Users left out because nothing of theirs was held out.
        without_recommendations: Evaluated users that got no item; they count 0.
        cold_users: Evaluated users that training never saw; None where this is not known.
        held_out_items: Held-out items of the evaluated users.
        outside_catalogue: Those that cannot be recommended, counted as misses; None without a
            catalogue.
    """

    users: int
    without_held_out: int
    without_recommendations: int
    cold_users: int | None
    held_out_items: int
    outside_catalogue: int | None


@dataclass(frozen=True)
class ArmResult:
    """What one arm scored.

    Attributes:
        name: The arm's name, such as `lora`.
        users: int64 (u,): which of the m users were evaluated, ascending.
        per_user: float64 (u,) by metric key, in the order of `users`.
        intervals: Mean over users and bootstrap interval by metric key.
        coverage: `catalogue_coverage_at_<k>` (with a catalogue) and `user_coverage`; with
            popularity also `novelty_at_<k>` and `popularity_bias_at_<k>`.
        counts: Who and what was counted.
        segments: Intervals by metric key. With `cold` `known_users` and `new_users`; with activity
            `active_users`, `middling_users`, `quiet_users`; with popularity `head_items`,
            `mid_items`, `tail_items`, which have the metrics `SLICED` over the users that have such
            items held out. A segment of nobody is absent.
        cold: bool (u,) in the order of `users`, or None.
        catalogue: Whether items came from the domain's catalogue or from all domains'.
        recall_denominator: What recall divides by.
        parameters: How many numbers the arm trained, or None.
    """

    name: str
    users: Ints
    per_user: dict[str, Floats]
    intervals: dict[str, Interval]
    coverage: dict[str, float]
    counts: Counts
    segments: dict[str, dict[str, Interval]] = field(default_factory=dict)
    cold: npt.NDArray[np.bool_] | None = None
    catalogue: Literal["domain", "global"] = "domain"
    recall_denominator: str = RECALL_DENOMINATOR
    parameters: int | None = None

    def metrics(self) -> dict[str, float]:
        """Every mean and coverage as flat numbers, by names that a tracker accepts."""
        return {key: interval.mean for key, interval in self.intervals.items()} | self.coverage

    def to_json(self) -> dict[str, Any]:
        """Plain values without the per-user arrays, ready for `json.dumps`."""
        return {
            "name": self.name,
            "catalogue": self.catalogue,
            "recall_denominator": self.recall_denominator,
            "parameters": self.parameters,
            "counts": asdict(self.counts),
            "metrics": {key: asdict(interval) for key, interval in self.intervals.items()},
            "coverage": dict(self.coverage),
            "segments": {
                name: {key: asdict(interval) for key, interval in segment.items()}
                for name, segment in self.segments.items()
            },
        }

    def per_user_frame(self, user_ids: Sequence[str] | npt.NDArray[Any]) -> pl.DataFrame:
        """One row an evaluated user: `user_id`, `cold` (null where not known), one column a metric.

        Args:
            user_ids: (m,) ids of all users that were ranked for, evaluated or not.
        """
        import polars as pl

        ids = np.asarray(user_ids, dtype=object)
        if len(ids) <= self.users.max(initial=-1):
            raise DataError(
                f"There are {len(ids)} user ids. Expected one for each of the users ranked for, "
                f"at least {self.users.max() + 1}."
            )
        cold = [None] * len(self.users) if self.cold is None else self.cold.tolist()
        return pl.DataFrame(
            {
                "user_id": pl.Series([str(user) for user in ids[self.users]], dtype=pl.String),
                "cold": pl.Series(cold, dtype=pl.Boolean),
                **self.per_user,
            }
        )


@dataclass(frozen=True)
class Difference:
    """An arm minus the baseline on one metric, paired by user.

    Attributes:
        interval: Mean difference and its bootstrap interval.
        p_value: Two-sided, not corrected; correct over domains with `holm`.
    """

    interval: Interval
    p_value: float

    def to_json(self) -> dict[str, float]:
        """Plain values: `mean`, `low`, `high` and `p_value`."""
        ends = {"mean": self.interval.mean, "low": self.interval.low, "high": self.interval.high}
        return ends | {"p_value": self.p_value}


def _intervals(
    per_user: Mapping[str, Floats], resamples: int, seed: int, confidence: float
) -> dict[str, Interval]:
    columns = np.stack(list(per_user.values()), axis=1)
    found = intervals_of(columns, bootstrap_means(columns, resamples, seed), confidence)
    return dict(zip(per_user, found, strict=True))


def _user_segments(
    per_user: Mapping[str, Floats],
    parts: Mapping[str, npt.NDArray[np.bool_]],
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[str, dict[str, Interval]]:
    return {
        name: _intervals({key: v[mask] for key, v in per_user.items()}, resamples, seed, confidence)
        for name, mask in parts.items()
        if mask.any()
    }


def _item_segments(
    ranked: Ints,
    held_out: HeldOut,
    popularity: Floats,
    keys: Sequence[tuple[str, int]],
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[str, dict[str, Interval]]:
    """What is held out is that of a slice alone; the ranking is of the whole catalogue."""
    found = {}
    for name, chosen in item_slices(popularity).items():
        hits = match(ranked, held_out_among(held_out, chosen))
        users = np.flatnonzero(hits.sizes > 0)
        if users.size and keys:
            values = {metric_key(m, k): METRICS[m](hits, k)[users] for m, k in keys}
            found[name] = _intervals(values, resamples, seed, confidence)
    return found


def _of_users(name: str, values: npt.ArrayLike, users: int) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (users,):
        raise DataError(f"{name} has shape {array.shape}. Expected ({users},), one value a user.")
    return array


def evaluate_ranking(
    ranked: npt.ArrayLike,
    held_out: HeldOut,
    ks: Sequence[int] = (10, 20, 50),
    *,
    name: str = "",
    catalogue: npt.ArrayLike | None = None,
    catalogue_kind: Literal["domain", "global"] = "domain",
    cold: npt.ArrayLike | None = None,
    activity: npt.ArrayLike | None = None,
    popularity: npt.ArrayLike | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    parameters: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> ArmResult:
    """Evaluate one arm's full rankings.

    Args:
        ranked: int64 (m, K) item rows, best first, seen items already removed; -1 is nothing.
            K is at least the largest of `ks`.
        held_out: Of the same m users.
        ks: Cuts.
        name: The arm's name.
        catalogue: int64 item rows that could be recommended, for coverage and certain misses.
        catalogue_kind: Which catalogue that is; the two are different metrics.
        cold: bool (m,): users that training never saw. None: no segments of new users.
        activity: int (m,): train rows of each user. None: no segments by activity.
        popularity: float (n,): train rows of each item row. None: no segments of items, no novelty.
        metrics: Names in `METRICS`.
        parameters: How many numbers the arm trained.
        resamples: Of the bootstrap over users.
        seed: Of the bootstrap; one seed for all arms.
        confidence: Share that an interval covers, between 0 and 1.

    Raises:
        DataError: No user has held-out items, or the arrays do not fit.
        NotFoundError: A metric of another name.
        ConfigError: A cut below 1 or above K.
    """
    ranked = np.asarray(ranked, dtype=np.int64)
    for metric in metrics:
        if metric not in METRICS:
            raise NotFoundError(f"There is no metric {metric!r}.{did_you_mean(metric, METRICS)}")
    if not ks or not metrics:
        raise DataError("No cut or no metric was asked for. Expected at least one of each.")
    mask = None if cold is None else _of_users("cold", cold, len(ranked)).astype(np.bool_)
    hits = match(ranked, held_out)
    users = np.flatnonzero(hits.sizes > 0)
    if not users.size:
        raise DataError(
            f"None of {len(ranked)} users has held-out items. Expected at least one; choose a "
            f"split that leaves rows to evaluate on."
        )
    per_user = {
        metric_key(metric, k): METRICS[metric](hits, k)[users] for metric in metrics for k in ks
    }
    coverage = {"user_coverage": user_coverage(hits)}
    outside = None
    if catalogue is not None:
        rows = np.unique(np.asarray(catalogue, dtype=np.int64))
        outside = held_out.outside(rows)
        for k in ks:
            share = catalogue_coverage_at(ranked, len(rows), k)
            coverage[metric_key("catalogue_coverage", k)] = share
    cold_users = None if mask is None else mask[users]
    draws = (resamples, seed, confidence)
    parts = {} if cold_users is None else {"known_users": ~cold_users, "new_users": cold_users}
    if activity is not None:
        parts |= user_slices(_of_users("activity", activity, len(ranked))[users])
    segments = _user_segments(per_user, parts, *draws)
    if popularity is not None:
        counts = np.asarray(popularity, dtype=np.float64)
        if ranked.max(initial=-1) >= len(counts):
            raise DataError(
                f"Rankings hold item row {ranked.max()}, popularity is of {len(counts)} rows. "
                f"Expected a number for every item that is recommended."
            )
        sliced = [(metric, k) for metric in metrics if metric in SLICED for k in ks]
        segments |= _item_segments(ranked, held_out, counts, sliced, *draws)
        shares = {metric_key("novelty", k): novelty_at(ranked[users], counts, k) for k in ks}
        shares |= {
            metric_key("popularity_bias", k): popularity_bias_at(ranked[users], held_out, counts, k)
            for k in ks
        }
        coverage |= {key: value for key, value in shares.items() if np.isfinite(value)}
    return ArmResult(
        name=name,
        users=users,
        per_user=per_user,
        intervals=_intervals(per_user, *draws),
        coverage=coverage,
        counts=Counts(
            users=len(users),
            without_held_out=len(ranked) - len(users),
            without_recommendations=int((hits.recommended[users] == 0).sum()),
            cold_users=None if cold_users is None else int(cold_users.sum()),
            held_out_items=int(hits.sizes.sum()),
            outside_catalogue=outside,
        ),
        segments=segments,
        cold=cold_users,
        catalogue=catalogue_kind,
        parameters=parameters,
    )


def compare(
    results: Mapping[str, ArmResult],
    baseline: str,
    *,
    metrics: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, dict[str, Difference]]:
    """Each arm minus the baseline, paired by user.

    Args:
        results: By arm, all of the same users.
        baseline: The arm that is subtracted.
        metrics: Metric keys, such as `recall_at_20`. None: all of the baseline.
        resamples: Of the paired bootstrap.
        seed: Of the resamples.
        confidence: Share that an interval covers, between 0 and 1.

    Returns:
        By arm (without the baseline), by metric key.

    Raises:
        NotFoundError: No such baseline or metric.
        DataError: An arm was evaluated on other users.
    """
    if baseline not in results:
        raise NotFoundError(f"There is no arm {baseline!r}.{did_you_mean(baseline, results)}")
    base = results[baseline]
    keys = list(base.per_user) if metrics is None else list(metrics)
    return {
        arm: _paired(result, base, keys, resamples, seed, confidence)
        for arm, result in results.items()
        if arm != baseline
    }


def _paired(
    arm: ArmResult,
    base: ArmResult,
    keys: Sequence[str],
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[str, Difference]:
    if not np.array_equal(arm.users, base.users):
        raise DataError(
            f"Arm {arm.name!r} has {len(arm.users)} users, {base.name!r} {len(base.users)}, and "
            f"they are not the same. Expected one evaluation for both; run it again."
        )
    for side in (arm, base):
        for key in keys:
            if key not in side.per_user:
                close = did_you_mean(key, side.per_user)
                raise NotFoundError(f"Arm {side.name!r} has no metric {key!r}.{close}")
    columns = np.stack([arm.per_user[key] - base.per_user[key] for key in keys], axis=1)
    means = bootstrap_means(columns, resamples, seed)
    found = intervals_of(columns, means, confidence)
    return {
        key: Difference(interval, two_sided_p_value(means[:, column]))
        for column, (key, interval) in enumerate(zip(keys, found, strict=True))
    }
