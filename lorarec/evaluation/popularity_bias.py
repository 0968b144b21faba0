"""How popular what is recommended is: novelty, and popularity beside that of what users took."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lorarec.evaluation.metrics import HeldOut

Floats = npt.NDArray[np.float64]


def novelty_at(ranked: npt.ArrayLike, popularity: npt.ArrayLike, k: int) -> float:
    """Mean self-information of the recommended items, in bits (Zhou et al. 2010).

    -log2(c_i / Σ c), over all users' first k, with c_i the train rows of item i. An item without a
    train row counts as one with half a row. NaN where nothing was recommended.

    Args:
        ranked: int64 (m, K) item rows, -1 is nothing.
        popularity: (n,) train rows by item row.
        k: At most K.
    """
    counts = np.asarray(popularity, dtype=np.float64)
    top = np.asarray(ranked)[:, :k]
    bits = np.log2(max(counts.sum(), 1.0)) - np.log2(np.maximum(counts, 0.5))
    return _mean(bits[top[top >= 0]])


def popularity_bias_at(
    ranked: npt.ArrayLike, held_out: HeldOut, popularity: npt.ArrayLike, k: int
) -> float:
    """Mean train rows of the recommended items / those of the held-out items.

    1: as popular as what users then took. Held-out items without a row in `popularity` count as 0
    rows. NaN where nothing was recommended, or where no held-out item has a train row.
    """
    counts = np.asarray(popularity, dtype=np.float64)
    top = np.asarray(ranked)[:, :k]
    inside = held_out.rows[held_out.rows < len(counts)]
    taken = counts[inside].sum() / max(int(held_out.sizes.sum()), 1)
    return _mean(counts[top[top >= 0]]) / taken if taken > 0 else float("nan")


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
