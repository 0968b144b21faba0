"""At most n items of a category in each user's list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.vectors import Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_DEEPER = 4


def within_cap(rows: Ints, categories: Ints, most: int) -> npt.NDArray[np.bool_]:
    """Which places of ranked lists stay when each takes its best `most` of a category.

    Args:
        rows: int64 (m, f), best first, -1 for nothing, which does not stay.
        categories: int64, by item row; -1 for an item without one, which is never capped.
        most: n, at least 1.

    Returns:
        bool (m, f).
    """
    m, f = rows.shape
    own = np.where(rows < 0, -1, categories[np.maximum(rows, 0)])
    user = np.repeat(np.arange(m), f)
    order = np.lexsort((np.tile(np.arange(f), m), own.ravel(), user))
    sorted_user, sorted_own = user[order], own.ravel()[order]
    new = np.ones(m * f, dtype=np.bool_)
    new[1:] = (sorted_user[1:] != sorted_user[:-1]) | (sorted_own[1:] != sorted_own[:-1])
    starts = np.flatnonzero(new)
    earlier = np.arange(m * f) - starts[np.cumsum(new) - 1] if m * f else np.zeros(0, np.int64)
    keep = np.empty(m * f, dtype=np.bool_)
    keep[order] = (earlier < most) | (sorted_own < 0)
    stays: npt.NDArray[np.bool_] = keep.reshape(m, f) & (rows >= 0)
    return stays


def search_capped(
    index: CatalogueIndex,
    user_vectors: npt.ArrayLike,
    k: int,
    seen: csr_matrix | None,
    categories: Ints,
    most: int,
) -> tuple[Ints, Floats]:
    """As `CatalogueIndex.search`, with at most `most` items of a category in each list.

    It is what walking down the whole ranking would keep, which is the best sum of scores that the
    cap allows: lists are fetched ever deeper until k items stay or the catalogue ends.

    Args:
        index: Exact or approximate.
        user_vectors: float32 (m, d).
        k: How many items a user.
        seen: As `search`.
        categories: int64, by item row (up to the highest in the index); -1 for none.
        most: n, at least 1.
    """
    users: npt.NDArray[Any] = np.asarray(user_vectors, dtype=np.float32)
    best = np.full((len(users), k), -1, dtype=np.int64)
    best_scores = np.full((len(users), k), -np.inf, dtype=np.float32)
    pending, depth = np.arange(len(users)), k
    while len(pending):
        depth = min(depth * _DEEPER, max(len(index), 1))
        rows, scores = index.search(users[pending], depth, None if seen is None else seen[pending])
        keep = within_cap(rows, categories, most)
        first = np.argsort(~keep, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(keep, first, axis=1)
        done = (keep.sum(axis=1) >= k) | (rows[:, -1] < 0) | (depth >= len(index))
        width = first.shape[1]
        into = pending[done]
        best[into, :width] = np.where(kept, np.take_along_axis(rows, first, axis=1), -1)[done]
        found = np.where(kept, np.take_along_axis(scores, first, axis=1), -np.inf)
        best_scores[into, :width] = found[done]
        pending = pending[~done]
    return best, best_scores
