"""Intervals and p-values from resampling users (percentile bootstrap, Efron and Tibshirani 1993).

Values are per user; users are the unit that is resampled. With one seed and one number of users
the same resamples are drawn, so arms evaluated alike are resampled alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]

# Resampled counts held at once (32 MiB as float64).
_BUDGET = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A mean over users and its bootstrap interval.

    Attributes:
        mean: The mean of the values themselves.
        low: Lower end.
        high: Upper end.
        n: How many values, over all domains.
    """

    mean: float
    low: float
    high: float
    n: int


def _checked(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or not len(array):
        raise DataError(
            f"Values to resample have shape {array.shape}. Expected at least one user's value."
        )
    flat = array if array.ndim == 1 else array.sum(axis=1)
    bad = np.flatnonzero(~np.isfinite(flat))
    if bad.size:
        raise DataError(
            f"{bad.size} users have no finite value, first: {bad[:5].tolist()}. "
            f"Expected users without held-out items to be left out before."
        )
    return array


def _percentiles(confidence: float) -> list[float]:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}. Expected a share between 0 and 1.")
    return [50 * (1 - confidence), 50 * (1 + confidence)]


def bootstrap_means(
    values: npt.ArrayLike, resamples: int = 1000, seed: int | np.random.SeedSequence = 0
) -> Floats:
    """Means of `values` over users drawn with replacement.

    Args:
        values: (m,), or (m, q) for q metrics on the same resamples.
        resamples: How many times m users are drawn.
        seed: Of the draws.

    Returns:
        float64 (resamples,) or (resamples, q).

    Raises:
        DataError: No users, or a value that is not finite.
        ConfigError: Fewer than 1 resample.
    """
    array = _checked(values)
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}. Expected at least 1.")
    m = len(array)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, *array.shape[1:]))
    chunk = max(1, min(resamples, _BUDGET // m))
    counts = np.empty((chunk, m))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        for row in range(size):
            counts[row] = np.bincount(rng.integers(0, m, m, dtype=np.int32), minlength=m)
        means[start : start + size] = counts[:size] @ array / m
    return means


def intervals_of(values: npt.ArrayLike, means: Floats, confidence: float = 0.95) -> list[Interval]:
    """One percentile interval a column.

    Args:
        values: (m, q) what was resampled.
        means: (resamples, q) from `bootstrap_means`.
        confidence: Share that each interval covers, between 0 and 1.
    """
    array = _checked(values)
    low, high = np.percentile(means, _percentiles(confidence), axis=0)
    return [
        Interval(float(mean), float(a), float(b), len(array))
        for mean, a, b in zip(array.mean(axis=0), low, high, strict=True)
    ]


def bootstrap_interval(
    values: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """The mean over users and its percentile interval.

    Args:
        values: (m,) a finite value a user.
        resamples: Draws of m users with replacement.
        seed: Of the draws.
        confidence: Share that the interval covers, between 0 and 1.

    Raises:
        DataError: No users, or a value that is not finite.
    """
    column = np.asarray(values, dtype=np.float64)[:, None]
    return intervals_of(column, bootstrap_means(column, resamples, seed), confidence)[0]


def _differences(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise DataError(
            f"Paired values have shapes {left.shape} and {right.shape}. "
            f"Expected the same users in the same order."
        )
    difference: Floats = left - right
    return difference


def paired_bootstrap(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """The mean of a - b over users, each user resampled with both values; arguments as above."""
    return bootstrap_interval(
        _differences(a, b), resamples=resamples, seed=seed, confidence=confidence
    )


def two_sided_p_value(means: npt.ArrayLike) -> float:
    """2 · min(share of bootstrap means ≤ 0, share ≥ 0), with one added to each count, at most 1.

    The added one keeps p above 0: with B resamples nothing below 2 / (B + 1) can be claimed.
    """
    array = np.asarray(means, dtype=np.float64)
    tail = min(int((array <= 0).sum()), int((array >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(array) + 1))


def paired_p_value(
    a: npt.ArrayLike, b: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> float:
    """Two-sided p-value of mean(a - b) = 0, on the resamples of `paired_bootstrap`."""
    return two_sided_p_value(bootstrap_means(_differences(a, b), resamples, seed))


def mean_over_domains(
    differences: Sequence[npt.ArrayLike],
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """The unweighted mean over domains of each domain's mean difference.

    Users are resampled within each domain, domains are not: the interval speaks of these domains.

    Args:
        differences: One array (m_d,) a domain, of a user's difference between two arms.
        resamples: Draws in each domain.
        seed: Each domain draws from its own stream of this seed.
        confidence: Share that the interval covers.

    Raises:
        DataError: No domains, or one without users or with a value that is not finite.
    """
    if not differences:
        raise DataError("There are no domains to average over. Expected at least one.")
    arrays = [_checked(difference) for difference in differences]
    seeds = np.random.SeedSequence(seed).spawn(len(arrays))
    means = np.mean(
        [bootstrap_means(a, resamples, s) for a, s in zip(arrays, seeds, strict=True)], axis=0
    )
    low, high = np.percentile(means, _percentiles(confidence))
    return Interval(
        mean=float(np.mean([array.mean() for array in arrays])),
        low=float(low),
        high=float(high),
        n=sum(len(array) for array in arrays),
    )


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's (1979) adjusted p-values: max_{j≤i} min(1, (q - j + 1) · p_(j)), in the order given.

    Args:
        p_values: (q,) of a family of tests, such as one a domain.

    Raises:
        DataError: A value is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    bad = p[~((p >= 0) & (p <= 1))]
    if bad.size:
        raise DataError(f"p-values hold {bad[:5].tolist()}. Expected numbers from 0 to 1.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    adjusted = np.empty(len(p))
    adjusted[order] = stepped
    return adjusted
