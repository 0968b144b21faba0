"""Rankings that need no index: the most popular items of the domain, and scores in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError, DataError
from lorarec.retrieval.top import best_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Places looked at in one batch of users.
_BUDGET = 1 << 24


def popularity_scores(
    train_items: npt.ArrayLike, catalogue: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> Floats:
    """How often each item of the catalogue was interacted with in training.

    Args:
        train_items: (p,) item rows of the domain's training interactions, of train alone.
        catalogue: int64 (n,) item rows, strictly ascending.
        weight: (p,) of each interaction. None: each counts 1.

    Returns:
        float32 (n,): counts by position in the catalogue; interactions outside it are not counted.
    """
    items = np.asarray(train_items, dtype=np.int64)
    rows = np.asarray(catalogue, dtype=np.int64)
    if not rows.size:
        return np.zeros(0, dtype=np.float32)
    position = np.minimum(np.searchsorted(rows, items), len(rows) - 1)
    inside = rows[position] == items
    weights = None if weight is None else np.asarray(weight, dtype=np.float64)[inside]
    counts = np.bincount(position[inside], weights, minlength=len(rows))
    return counts.astype(np.float32)


def popularity_ranking(
    scores: npt.ArrayLike,
    catalogue: npt.ArrayLike,
    k: int,
    seen: csr_matrix | None = None,
    users: int = 1,
) -> tuple[Ints, Floats]:
    """The k best-scored unseen items of each user, where all users share the scores.

    Same order, seen filter and padding as `ExactIndex.search`: score descending, ties to the lowest
    item row, -1 and -inf where fewer than k are left.

    Args:
        scores: (n,) one score an item, such as `popularity_scores`.
        catalogue: int64 (n,) item rows, strictly ascending.
        k: How many, at least 1.
        seen: CSR (m, n) over positions in the catalogue; stored entries are left out.
        users: m, when `seen` is None.

    Returns:
        Item rows int64 (m, k) and scores float32 (m, k).

    Raises:
        ConfigError: k is below 1.
        DataError: A score is NaN, or shapes do not fit.
    """
    if k < 1:
        raise ConfigError(f"k is {k}. Expected at least 1 item to return.")
    values = np.asarray(scores, dtype=np.float32)
    rows = np.asarray(catalogue, dtype=np.int64)
    m, n = (users, len(rows)) if seen is None else seen.shape
    if values.shape != (n,) or len(rows) != n or np.isnan(values).any():
        raise DataError(
            f"Scores have shape {values.shape}, the catalogue {rows.shape}, seen {n} columns. "
            f"Expected one number an item and no NaN."
        )
    best_rows = np.full((m, k), -1, dtype=np.int64)
    best_scores = np.full((m, k), -np.inf, dtype=np.float32)
    order = np.argsort(-values, kind="stable")
    depth = min(k, n)
    if seen is None:
        best_rows[:, :depth] = rows[order[:depth]]
        best_scores[:, :depth] = values[order[:depth]]
        return best_rows, best_scores
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    counts = np.diff(seen.indptr)
    reach = min(n, depth + int(counts.max(initial=0)))
    step = max(1, _BUDGET // max(1, reach))
    for start in range(0, m, step):
        part = seen[start : start + step]
        user = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        places = place[part.indices]
        near = places < reach
        hidden = np.zeros((part.shape[0], reach), dtype=np.bool_)
        hidden[user[near], places[near]] = True
        kept = np.argsort(hidden, axis=1, kind="stable")[:, :depth]
        chosen = order[kept]
        gone = np.take_along_axis(hidden, kept, axis=1)
        best_rows[start : start + step, :depth] = np.where(gone, -1, rows[chosen])
        best_scores[start : start + step, :depth] = np.where(gone, -np.inf, values[chosen])
    return best_rows, best_scores


def dense_ranking(scores: npt.ArrayLike, k: int, seen: csr_matrix) -> Ints:
    """The k best-scored unseen columns of each row: score descending, ties to the lowest column.

    Args:
        scores: float32 (m, n), finite.
        k: How many, at least 1.
        seen: CSR (m, n); stored entries are left out.

    Returns:
        int64 (m, k), -1 where fewer than k are left.
    """
    values = np.array(scores, dtype=np.float32)
    m, n = values.shape
    values[np.repeat(np.arange(m), np.diff(seen.indptr)), seen.indices] = -np.inf
    depth = min(k, n)
    columns, kept = best_of(values, depth)
    ranked = np.full((m, k), -1, dtype=np.int64)
    ranked[:, :depth] = np.where(np.isfinite(kept), columns, -1)
    return ranked
