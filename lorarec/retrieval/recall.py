"""What an approximate index loses and gains: recall against exact search at the same k; speed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorarec.retrieval.approximate import ApproximateIndex, Effort
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.vectors import Floats

MOST_CANDIDATES = 32
"""Candidates that codes may need for each item that is wanted."""


@dataclass(frozen=True)
class Measured:
    """An index beside exact search, on the same users and with the same threads."""

    recall: float
    """Mean share of the exact top k that was found; an item that ties with the kth counts."""
    k: int
    users: int
    """How many it was measured on."""
    queries_per_second: float
    exact_queries_per_second: float


def recall_against(scores: Floats, exact: Floats) -> float:
    """Mean share of the exact top k that was found.

    Args:
        scores: float32 (m, k) of what was found, -inf for nothing.
        exact: float32 (m, k) of exact search. An item counts where it scores no less than the kth.
    """
    there = np.isfinite(exact)
    wanted = there.sum(axis=1)
    worst = np.min(exact, axis=1, where=there, initial=np.inf)
    found = (scores >= worst[:, None]) & np.isfinite(scores)
    share = np.minimum(found.sum(axis=1), wanted) / np.maximum(wanted, 1)
    return float(share[wanted > 0].mean()) if (wanted > 0).any() else 1.0


def measured(
    index: CatalogueIndex, exact: CatalogueIndex, user_vectors: npt.ArrayLike, k: int
) -> Measured:
    """Search both for the same users, once each after a short warm-up, and compare."""
    users = np.asarray(user_vectors, dtype=np.float32)
    (_, ours), seconds = _timed(index, users, k)
    (_, true), exact_seconds = _timed(exact, users, k)
    return Measured(
        recall_against(ours, true), k, len(users), len(users) / seconds, len(users) / exact_seconds
    )


def calibrate(
    index: ApproximateIndex, exact: CatalogueIndex, users: npt.ArrayLike, k: int, target: float
) -> Effort:
    """Set a small effort whose recall on these users is the target.

    It is doubled from 8 on until the recall is reached, and then brought back by two halvings of
    the last step as far as that holds. Where none reaches it, the largest is kept; `measured` says
    what it reaches.

    Args:
        index: Its effort is set.
        exact: Exact search over the same items.
        users: float32 (m, d).
        k: Cut-off.
        target: Share of the exact top k.

    Returns:
        The effort.
    """
    vectors = np.asarray(users, dtype=np.float32)
    _, true = exact.search(vectors, k)

    def reaches(effort: Effort) -> bool:
        index.effort = effort
        _, found = index.search(vectors, k)
        return recall_against(found, true) >= target

    most = MOST_CANDIDATES if index.factory.compressed else 1
    value, candidates = 8, min(most, 2)
    while not reaches(Effort(min(value, index.largest_effort), candidates)):
        if value >= index.largest_effort and candidates >= most:
            return index.effort
        value, candidates = value * 2, min(most, candidates * 2)
    good = index.effort
    if value > 8:
        step = value // 4
        for _ in range(2):
            if good.value - step >= 1 and reaches(Effort(good.value - step, candidates)):
                good = index.effort
            step //= 2
    index.effort = good
    return good


def _timed(index: CatalogueIndex, users: Floats, k: int) -> tuple[tuple[object, Floats], float]:
    index.search(users[:32], k)
    started = time.perf_counter()
    found = index.search(users, k)
    return found, max(time.perf_counter() - started, 1e-9)
