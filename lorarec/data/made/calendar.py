"""The window of time: who and what is new on which day, and when things happen while taste drifts.

Moments are shares of the window, from 0 to below 1. With a trend c the density of a moment t is
proportional to exp(c t), cut to where both sides are there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lorarec.data.made.streams import stream

Array = np.ndarray[Any, Any]

NEW = 0.2  # of users and of items: not there at the beginning
_FLAT = 1e-6  # a trend below which the density is taken as even


def make_first_days(seed: int, name: str, count: int, days: int) -> Array:
    """The first day of each user or item: 0 for most, any later day for a fifth.

    Args:
        seed: The world's.
        name: `users` or `items`.
        count: How many.
        days: Length of the window, 1 or more.

    Returns:
        int64 (count,), 0 to days - 1.
    """
    rng = stream(seed, f"calendar of {name}")
    new = rng.random(count) < NEW
    return np.where(new, rng.integers(min(1, days - 1), days, size=count), 0)


def log_mass(trend: Array, begin: Array) -> Array:
    """log ∫ exp(c t) dt from `begin` to 1; the arguments are broadcast."""
    flat = np.abs(trend) < _FLAT
    c = np.where(flat, 1.0, trend)
    even, sloped = 1.0 - begin, (np.exp(c) - np.exp(c * begin)) / c
    return np.asarray(np.log(np.where(flat, even, sloped)))


def moments(trend: Array, begin: Array, uniform: Array) -> Array:
    """Moments of the density exp(c t) on [begin, 1), by the inverse of its distribution.

    Args:
        trend: float64 (n,): c.
        begin: float64 (n,), in [0, 1).
        uniform: float64 (n,), in [0, 1).
    """
    length = 1.0 - begin
    flat = np.abs(trend) < _FLAT
    c = np.where(flat, 1.0, trend) * length
    sloped = np.log1p(uniform * np.expm1(c)) / c
    within = begin + length * np.where(flat, uniform, sloped)
    # Rounding must not carry a moment out of the window.
    return np.asarray(np.clip(within, begin, np.nextafter(1.0, 0.0)))
