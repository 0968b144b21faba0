"""Ranking metrics of each user, from what was recommended and what was held out.

`match` marks the hits once; every metric is then a few array operations on them. H is the set of a
user's held-out items, rel_r is 1 where the item at rank r (from 1) is in H, else 0. A user without
held-out items has no metric: NaN. A user without recommendations has 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOut:
    """The held-out items of m users, in CSR form.

    Attributes:
        indptr: int64 (m + 1,): the items of user u are `rows[indptr[u]:indptr[u + 1]]`.
        rows: int64 item rows, sorted and unique within a user.
        unknown: int64 (m,): held-out items that have no row at all. They cannot be recommended
            and count in the denominator, as misses.
    """

    indptr: Ints
    rows: Ints
    unknown: Ints

    @classmethod
    def from_pairs(cls, user_index: npt.ArrayLike, item_row: npt.ArrayLike, users: int) -> HeldOut:
        """From pairs in any order; repeated pairs count once.

        Args:
            user_index: (p,) integers, 0 ≤ user < users.
            item_row: (p,) integers. -1 marks an item without a row; each such pair counts as one
                item, because equal marks may stand for different items.
            users: m, the number of users.

        Raises:
            DataError: The arrays differ in length or an index is out of range.
        """
        user = np.asarray(user_index, dtype=np.int64)
        item = np.asarray(item_row, dtype=np.int64)
        if user.shape != item.shape or user.ndim != 1:
            raise DataError(
                f"Held-out pairs have shapes {user.shape} and {item.shape}. "
                f"Expected two arrays of one length."
            )
        bad = np.flatnonzero((user < 0) | (user >= users) | (item < -1))
        if bad.size:
            pairs = list(zip(user[bad[:5]].tolist(), item[bad[:5]].tolist(), strict=True))
            raise DataError(
                f"{bad.size} held-out pairs are out of range, first: {pairs}. "
                f"Expected users from 0 to {users - 1} and item rows from 0 on (or -1)."
            )
        known = item >= 0
        unknown = np.bincount(user[~known], minlength=users).astype(np.int64)
        user, item = user[known], item[known]
        order = np.lexsort((item, user))
        user, item = user[order], item[order]
        first = np.ones(len(user), dtype=np.bool_)
        first[1:] = (np.diff(user) != 0) | (np.diff(item) != 0)
        user, item = user[first], item[first]
        indptr = np.zeros(users + 1, dtype=np.int64)
        np.cumsum(np.bincount(user, minlength=users), out=indptr[1:])
        return cls(indptr, item, unknown)

    def __len__(self) -> int:
        """The number of users, with and without held-out items."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> Ints:
        """int64 (m,): |H| of each user."""
        return np.diff(self.indptr) + self.unknown

    def outside(self, catalogue: npt.ArrayLike) -> int:
        """How many held-out items are not in `catalogue` (sorted item rows): certain misses."""
        return int((~np.isin(self.rows, np.asarray(catalogue))).sum() + self.unknown.sum())


@dataclass(frozen=True)
class Hits:
    """What `match` found.

    Attributes:
        relevant: bool (m, K): whether the item at each rank was held out.
        sizes: int64 (m,): |H| of each user.
        recommended: int64 (m,): how many of the K places hold an item.
    """

    relevant: Bools
    sizes: Ints
    recommended: Ints

    def top(self, k: int) -> Bools:
        """The first k columns of `relevant`.

        Raises:
            ConfigError: k is below 1 or above K: those ranks were never asked for.
        """
        if not 1 <= k <= self.relevant.shape[1]:
            raise ConfigError(
                f"k is {k}. Expected 1 to {self.relevant.shape[1]}, the length of the rankings."
            )
        return self.relevant[:, :k]


def match(ranked: npt.ArrayLike, held_out: HeldOut) -> Hits:
    """Mark the recommended items that were held out.

    Args:
        ranked: int64 (m, K) item rows, best first; -1 is nothing.
        held_out: Of the same m users.

    Raises:
        DataError: The numbers of users differ, or a ranking holds an item twice.
    """
    ranked = np.asarray(ranked, dtype=np.int64)
    if ranked.ndim != 2 or len(ranked) != len(held_out):
        raise DataError(
            f"Rankings have shape {ranked.shape}, held-out items are of {len(held_out)} users. "
            f"Expected one ranking a user, in the same order."
        )
    ordered = np.sort(ranked, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        users = np.flatnonzero(twice.any(axis=1))
        raise DataError(
            f"{len(users)} rankings hold an item twice, first users: {users[:5].tolist()}. "
            f"Expected each item once."
        )
    items = ranked >= 0
    relevant = np.zeros(ranked.shape, dtype=np.bool_)
    if held_out.rows.size and ranked.size:
        stride = max(int(held_out.rows.max()), int(ranked.max())) + 1
        users = np.arange(len(ranked), dtype=np.int64)
        known = np.repeat(users, np.diff(held_out.indptr)) * stride + held_out.rows
        asked = users[:, None] * stride + ranked
        place = np.minimum(np.searchsorted(known, asked), known.size - 1)
        relevant = (known[place] == asked) & items
    return Hits(relevant, held_out.sizes, items.sum(axis=1, dtype=np.int64))


def _share(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """numerator / denominator, NaN where the denominator is 0."""
    below = np.asarray(denominator, dtype=np.float64)
    out = np.full(len(below), np.nan)
    np.divide(numerator, below, out=out, where=below > 0)
    return out


def _discounts(k: int) -> Floats:
    return 1.0 / np.log2(np.arange(2, k + 2))


def recall_at(hits: Hits, k: int) -> Floats:
    """Σ_{r≤k} rel_r / |H|. Denominator: all held-out items (RecBole, RecTools, ranx)."""
    return _share(hits.top(k).sum(axis=1), hits.sizes)


def recall_min_at(hits: Hits, k: int) -> Floats:
    """Σ_{r≤k} rel_r / min(k, |H|). Denominator: what a perfect ranking finds (LensKit, vae_cf)."""
    return _share(hits.top(k).sum(axis=1), np.minimum(hits.sizes, k))


def ndcg_at(hits: Hits, k: int) -> Floats:
    """DCG / ideal DCG, with DCG = Σ_{r≤k} rel_r / log2(r + 1) (Järvelin and Kekäläinen 2002).

    Denominator: the DCG of min(k, |H|) hits at the top.
    """
    discounts = _discounts(k)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(hits.sizes, k)]
    return _share(hits.top(k) @ discounts, ideal)


def hit_rate_at(hits: Hits, k: int) -> Floats:
    """1 where any of the first k items was held out, else 0."""
    return _share(hits.top(k).any(axis=1).astype(np.float64), np.minimum(hits.sizes, 1))


def mrr_at(hits: Hits, k: int) -> Floats:
    """1 / rank of the first hit within k, 0 without one."""
    top = hits.top(k)
    reciprocal = np.where(top.any(axis=1), 1.0 / (top.argmax(axis=1) + 1), 0.0)
    return _share(reciprocal, np.minimum(hits.sizes, 1))


def map_at(hits: Hits, k: int) -> Floats:
    """Average precision: Σ_{r≤k} rel_r · (Σ_{s≤r} rel_s / r) / |H|.

    Denominator: all held-out items, as in `recall_at` (not min(k, |H|)).
    """
    top = hits.top(k)
    precision = np.cumsum(top, axis=1) / np.arange(1, k + 1)
    return _share((precision * top).sum(axis=1), hits.sizes)


METRICS: dict[str, Callable[[Hits, int], Floats]] = {
    "recall": recall_at,
    "recall_min": recall_min_at,
    "ndcg": ndcg_at,
    "hit_rate": hit_rate_at,
    "mrr": mrr_at,
    "map": map_at,
}


def metric_key(metric: str, k: int) -> str:
    """`recall_at_20`: legal as an MLflow metric key, where `recall@20` is not."""
    return f"{metric}_at_{k}"


def catalogue_coverage_at(ranked: npt.ArrayLike, catalogue_size: int, k: int) -> float:
    """Distinct items in all users' first k / the number of items in the catalogue.

    Args:
        ranked: int64 (m, K) item rows, -1 is nothing.
        catalogue_size: Denominator: items that may be recommended.
        k: At most K.
    """
    if catalogue_size < 1:
        raise DataError("The catalogue has no items. Expected at least one to recommend.")
    top = np.asarray(ranked)[:, :k]
    return len(np.unique(top[top >= 0])) / catalogue_size


def user_coverage(hits: Hits) -> float:
    """Users with at least one recommendation / all users. NaN without users."""
    return float(np.mean(hits.recommended > 0)) if len(hits.recommended) else float("nan")


def _sampled_ranks(positive: npt.ArrayLike, negatives: npt.ArrayLike) -> Ints:
    """int64 (m,): 1 + the number of negatives that score at least as high as the positive."""
    positive, negatives = np.asarray(positive), np.asarray(negatives)
    if positive.ndim != 1 or negatives.ndim != 2 or len(positive) != len(negatives):
        raise DataError(
            f"Candidate scores have shapes {positive.shape} and {negatives.shape}. "
            f"Expected (m,) for the positives and (m, n) for their negatives."
        )
    bad = np.flatnonzero(np.isnan(positive) | np.isnan(negatives).any(axis=1))
    if bad.size:
        raise DataError(
            f"{bad.size} candidate lists hold a NaN score, first: {bad[:5].tolist()}. "
            f"Expected a number for every candidate."
        )
    ranks: Ints = 1 + (negatives >= positive[:, None]).sum(axis=1, dtype=np.int64)
    return ranks


def sampled_ndcg_at(positive: npt.ArrayLike, negatives: npt.ArrayLike, k: int) -> Floats:
    """nDCG of one positive among given candidates: 1 / log2(rank + 1) where rank ≤ k, else 0.

    Only for published candidate-list protocols; it does not estimate the full-ranking metric
    (Krichene and Rendle 2020). A tie counts as a miss: rank = 1 + |negatives ≥ positive|.

    Args:
        positive: (m,) scores of the held-out items.
        negatives: (m, n) scores of the other candidates.
        k: The cut, at least 1.

    Raises:
        DataError: A score is NaN, or the shapes do not fit.
    """
    ranks = _sampled_ranks(positive, negatives)
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def sampled_hit_rate_at(positive: npt.ArrayLike, negatives: npt.ArrayLike, k: int) -> Floats:
    """1 where the positive is among the first k of its candidates; arguments and ties as above."""
    return (_sampled_ranks(positive, negatives) <= k).astype(np.float64)
