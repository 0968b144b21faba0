"""The k best columns of each row, ties to the lowest column."""

from __future__ import annotations

import numpy as np

from lorarec.retrieval.vectors import Floats, Ints


def best_of(scores: Floats, k: int) -> tuple[Ints, Floats]:
    """Columns and scores of the k best of each row, ties to the lowest column.

    Args:
        scores: float32 (b, n), -inf where nothing may be returned; n ≥ k.
        k: How many.

    Returns:
        int64 and float32 (b, k), best first.
    """
    n = scores.shape[1]
    if k < n:
        cut = np.partition(scores, n - k, axis=1)[:, n - k, None]
        above = scores > cut
        tied = scores == cut
        room = k - above.sum(axis=1, keepdims=True)
        keep = above | (tied & (np.cumsum(tied, axis=1) <= room))
        columns = np.nonzero(keep)[1].reshape(len(scores), k)
    else:
        columns = np.broadcast_to(np.arange(n), scores.shape)
    kept = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-kept, axis=1, kind="stable")
    return (
        np.take_along_axis(columns, order, axis=1).astype(np.int64),
        np.take_along_axis(kept, order, axis=1),
    )
