"""A domain as it serves at one moment: what never changes under a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.jobs.cold import vectors_of_histories
from lorarec.jobs.grown import OTHERS
from lorarec.jobs.recommend import Ready, Recommended, as_dict, recommender
from lorarec.jobs.recommend_users import FEWER_LEFT, POPULAR, UNKNOWN_USER
from lorarec.jobs.recommender import Recommender
from lorarec.lora.fold_in import FoldIn
from lorarec.models.artefact import Base
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.vectors import unit

Array = np.ndarray[Any, Any]
BY_HISTORY = "history"
"""`fallback` of a user without a vector whose history was given."""
RIDGE = 1.0
"""λ of the fold-in, as `adapt.grown_ridge` is by default."""


@dataclass(frozen=True)
class Query:
    """One request."""

    domain: str
    user: str | None
    """Its id; None of a user that is nothing but a history."""
    history: tuple[str, ...] = ()
    """Items that it had, in any order. They are left out of its list, and of a user without a
    vector they make one."""
    k: int = 10


@dataclass(frozen=True)
class Answer:
    """A user's ranked items and what ranked them."""

    found: Recommended
    reason: str | None
    """`unknown user` of a fallback; `fewer than k left` of a list that ends early."""
    base: str
    """Digest."""
    adapter: str | None
    """Digest; None of the bare base."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **as_dict(self.found),
            "reason": self.reason,
            "base_digest": self.base,
            "adapter_digest": self.adapter,
        }


class Snapshot:
    """A domain with its base, adapter, catalogue and index, none of which is ever replaced in it.

    Args:
        ready: From `jobs.recommend.ready_of`.
        version: What it was loaded from, as its source calls it.
        base: The base as domains share it, where `ready` has it at a split of its own.
    """

    def __init__(self, ready: Ready, version: str, base: Base | None = None) -> None:
        self.ready, self.version, self.base = ready, version, base or ready.base
        self.recommender: Recommender = recommender(ready)
        # The first request shall not pay for what all share.
        self.recommender.rank(pl.Series("user_id", [None], dtype=pl.String), 1)

    @property
    def domain(self) -> str:
        """Its name."""
        return self.ready.arena.domain

    @property
    def nbytes(self) -> int:
        """About what it holds beside its base: rows, vectors of items, the adapter's numbers."""
        vectors = self.recommender.index
        held = vectors.catalogue.vectors.nbytes if isinstance(vectors, ExactIndex) else 0
        adapter = self.ready.adapter
        own = 0 if adapter is None else 4 * sum(adapter.info.parameters.values())
        # There once a history was asked for: as many numbers as the vectors, in float64.
        folded = 2 * held if "_fold_in" in self.__dict__ else 0
        return int(self.ready.arena.frame.estimated_size()) + held + own + folded

    @property
    def base_digest(self) -> str:
        """Of its base."""
        return self.ready.base.digest

    @property
    def adapter_digest(self) -> str | None:
        """Of its adapter; None of the bare base."""
        return self.ready.adapter.info.digest if self.ready.adapter else None

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers in the order of the queries, all of this domain; k is at least 1.

        A user with a vector is ranked by it. One without is ranked by its history, where some of
        it is known: by the towers' pool of histories, or by folding it in over the catalogue.
        Everybody else gets the popular items. Nobody gets what it has had.
        """
        users = pl.Series("user_id", [query.user for query in queries], dtype=pl.String)
        vectors, known = self.ready.scorer.user_vectors(users)
        seen = self.recommender.seen(users)
        folded = np.zeros(len(queries), bool)
        if any(query.history for query in queries):
            had = self._had(queries)
            seen = (seen + had).tocsr()
            strangers = np.flatnonzero(~known).tolist()
            if len(strangers):
                own, told = self._of_histories([queries[n] for n in strangers], had[strangers])
                vectors[strangers] = own
                folded[strangers] = told
        most = max(query.k for query in queries)
        ranked = self.recommender.rank_vectors(vectors, known | folded, seen, most)
        return [
            self._answer(query, ranked.positions[n], ranked.scores[n], bool(ranked.cold[n]),
                         bool(folded[n]))
            for n, query in enumerate(queries)
        ]  # fmt: skip

    def _answer(
        self, query: Query, positions: Array, scores: Array, cold: bool, folded: bool
    ) -> Answer:
        there = positions[: query.k] >= 0
        taken = positions[: query.k][there]
        fallback = POPULAR if cold else BY_HISTORY if folded else None
        short = FEWER_LEFT if len(taken) < query.k else None
        found = Recommended(
            user=query.user or "",
            domain=self.domain,
            items=self.recommender.arena.catalogue.take(taken).to_list(),
            scores=[float(score) for score in scores[: query.k][there]],
            fallback=fallback,
        )
        reason = UNKNOWN_USER if fallback else short
        return Answer(found, reason, self.base_digest, self.adapter_digest)

    def _had(self, queries: Sequence[Query]) -> sparse.csr_matrix:
        """Given histories over the catalogue: CSR (m, items); unknown items are passed over."""
        return _pairs(queries, self.recommender.arena.catalogue.rows, self._items)

    @property
    def _items(self) -> int:
        return len(self.recommender.arena.catalogue)

    def _of_histories(
        self, queries: Sequence[Query], had: sparse.csr_matrix
    ) -> tuple[Array, Array]:
        """Vectors float32 (m, d) of users by what they had, and who had something known."""
        ready = self.ready
        source = ready.adapter or ready.base
        pool = _pairs(queries, ready.base.items.rows, ready.base.info.items)
        vectors, told = vectors_of_histories(ready.base, source.model, source.users, pool)
        left = np.flatnonzero(~told & (np.diff(had.indptr) > 0))
        if len(left):
            folded = unit(self._fold_in.solve(had[left]).astype(np.float32) * (1 + RIDGE))
            vectors[left] = folded * self._length
            told[left] = True
        return vectors, told

    @cached_property
    def _fold_in(self) -> FoldIn:
        vectors, _, _ = self.ready.scorer.item_vectors(self.ready.arena.catalogue.series)
        return FoldIn(unit(vectors), RIDGE, OTHERS)

    @cached_property
    def _length(self) -> float:
        """Mean length of the vectors of the domain's users; 1 / τ for cosine."""
        vectors, known = self.ready.scorer.user_vectors(self.ready.arena.members)
        return float(np.linalg.norm(vectors[known], axis=1).mean()) if known.any() else 1.0


def _pairs(queries: Sequence[Query], rows_of: Any, items: int) -> sparse.csr_matrix:
    counts = [len(query.history) for query in queries]
    ids = pl.Series("item_id", [i for q in queries for i in q.history], dtype=pl.String)
    rows = rows_of(ids, missing="mark")
    user = np.repeat(np.arange(len(queries)), counts)
    # An item that was appended to a base behind its trained rows is in no history.
    kept = (rows >= 0) & (rows < items)
    ones = np.ones(int(kept.sum()), np.float32)
    return sparse.csr_matrix((ones, (user[kept], rows[kept])), shape=(len(queries), items))
