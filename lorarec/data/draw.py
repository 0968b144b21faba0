"""A seeded draw of held-out pairs that does not depend on the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]


def can_draw(frame: pl.DataFrame) -> bool:
    """Whether any user has two different pairs, so that one can be held out.

    Args:
        frame: Canonical logs.
    """
    pairs = frame.select("user_id", "item_id", "domain").n_unique() if frame.height else 0
    return pairs > frame["user_id"].n_unique()


def draw_parts(frame: pl.DataFrame, shares: Sequence[float], seed: int) -> Array | None:
    """Parts 1, 2, ... of the given shares drawn over distinct (user, item, domain); 0 is the rest.

    All rows of a pair fall in one part. The first pair drawn of every user stays in 0, so nobody
    loses the whole history. Pairs are sorted before the draw: the same set of rows in another
    order gives every row the same part.

    Args:
        frame: Canonical logs (n rows).
        shares: Of the distinct pairs, one for each part; 0 leaves a part empty.
        seed: Of the permutation.

    Returns:
        int64 (n,), or None when a part with a share would be empty.
    """
    user_of_pair, pair_of_row = _distinct_pairs(frame)
    pairs = len(user_of_pair)
    order = np.random.default_rng(seed).permutation(pairs)
    first = np.unique(user_of_pair[order], return_index=True)[1]
    free = np.delete(order, first)
    part = np.zeros(pairs, dtype=np.int64)
    for code in range(len(shares), 0, -1):
        share = shares[code - 1]
        wanted = max(1, round(share * pairs)) if share else 0
        if wanted and not len(free):
            return None
        part[free[:wanted]] = code
        free = free[wanted:]
    return part[pair_of_row]


def _distinct_pairs(frame: pl.DataFrame) -> tuple[Array, Array]:
    """User codes of the sorted distinct pairs (p,), and each row's pair (n,)."""
    users, _ = _codes(frame["user_id"])
    items, n_items = _codes(frame["item_id"])
    domains, n_domains = _codes(frame["domain"])
    # Below 2^63 up to, say, 10^9 users, 10^8 items and 90 domains.
    key = (users * n_items + items) * n_domains + domains
    distinct, pair_of_row = np.unique(key, return_inverse=True)
    return distinct // (n_items * n_domains), pair_of_row


def _codes(column: pl.Series) -> tuple[Array, int]:
    """Each value's place among the sorted distinct values, int64 (n,), and how many there are."""
    names = column.unique().sort()
    codes = column.cast(pl.Enum(names)).to_physical().cast(pl.Int64)
    return codes.to_numpy(), len(names)
