"""The one-standard-error rule: of settings that were tried, the smallest that is as good as any."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """How one setting stands to the best on the same users."""

    mean: float
    error: float
    """Standard error of `mean`, over users."""
    behind: float
    """Mean of the best minus this one, user by user; 0 for the best itself."""
    behind_error: float
    """Standard error of `behind`; 0 for the best itself."""

    @property
    def within(self) -> bool:
        """Whether it is at most one standard error behind the best."""
        return self.behind <= self.behind_error


def standard_error(values: npt.ArrayLike) -> float:
    """s / √m of values of m users, with s² = Σ (x - mean)² / (m - 1).

    Raises:
        DataError: Fewer than two users, of whom nothing can be said.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise DataError(
            f"A standard error was asked of values of shape {array.shape}. Expected those of two "
            f"users or more."
        )
    return float(array.std(ddof=1)) / math.sqrt(len(array))


def standings(values: Mapping[int, Floats], best: Floats | None = None) -> dict[int, Standing]:
    """Each setting beside the best one.

    Args:
        values: Setting → (m,) its value for each user, more is better; the same users in the same
            order for all.
        best: (m,) what they are held against; None is the one among them with the highest mean, of
            equals the smallest setting.

    Raises:
        DataError: There is no setting, or fewer than two users.
    """
    if not values:
        raise DataError("There is no setting to choose from. Expected at least one.")
    if best is None:
        best = values[max(sorted(values), key=lambda setting: float(values[setting].mean()))]
    return {
        setting: Standing(
            float(own.mean()),
            standard_error(own),
            float((best - own).mean()),
            standard_error(best - own),
        )
        for setting, own in values.items()
    }


def smallest_within(found: Mapping[int, Standing]) -> int:
    """The smallest setting whose mean is within one standard error of the best's.

    The rule of Breiman, Friedman, Olshen and Stone (Classification and Regression Trees, 1984,
    3.4.3), with the error of the difference in place of that of the best's mean: all settings rank
    for the same users, and what makes one user harder than another says nothing about them.

    Args:
        found: By `standings`; not empty.
    """
    return min(setting for setting, standing in found.items() if standing.within)
