"""Ranks a domain's items for any number of users, by the rules that were given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.ranking import Arena
from lorarec.jobs.rules import Resolved
from lorarec.jobs.scorer import Scorer
from lorarec.retrieval.caps import search_capped
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.index import ExactIndex

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Lists of some users, best first."""

    positions: Array
    """int64 (m, k): places in the catalogue, -1 for nothing."""
    scores: Array
    """float32 (m, k): of the model, or counts where it fell back; -inf for nothing."""
    cold: Array
    """bool (m,): users without a vector, who got the popular items."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """A domain's model, index and rules; what a user has seen is taken out before the cut."""

    arena: Arena
    """Its catalogue is the index's."""
    scorer: Scorer
    index: CatalogueIndex
    """Over all items of the catalogue; its rows are places there."""
    seen_parts: tuple[str, ...]
    """Parts of the split whose items a user does not get again."""
    rules: Resolved

    @cached_property
    def _allowed(self) -> CatalogueIndex:
        return self.index if self.rules.allowed is None else self.index.only(self.rules.allowed)

    @cached_property
    def _popular(self) -> CatalogueIndex:
        """The popularity as a vector of one dimension: the same rules for users without one."""
        index = ExactIndex(self.arena.popularity[:, None])
        return index if self.rules.allowed is None else index.only(self.rules.allowed)

    @cached_property
    def _had(self) -> tuple[Vocabulary, sparse.csr_matrix]:
        """Users of the domain with rows, and what they have had: read once for all batches."""
        rows = self.arena.frame.filter(pl.col("split").is_in(self.seen_parts))
        users = Vocabulary(rows["user_id"].unique().sort())
        return users, self.arena.seen(users.series, self.seen_parts)

    def seen(self, users: pl.Series) -> sparse.csr_matrix:
        """What users have had, over the items that may be recommended: CSR (m, items)."""
        known, had = self._had
        rows = known.rows(users, missing="mark")
        there = np.flatnonzero(rows >= 0)
        pick = (np.ones(len(there), np.float32), (there, rows[there]))
        chosen = sparse.csr_matrix(pick, shape=(len(users), len(known))) @ had
        return chosen if self.rules.allowed is None else chosen[:, self.rules.allowed]

    def rank(self, users: pl.Series, k: int) -> Ranked:
        """The k best items of each user that it has not had and the rules allow.

        Args:
            users: Ids; those without a vector get the domain's popular items.
            k: At least 1.
        """
        vectors, known = self.scorer.user_vectors(users)
        return self.rank_vectors(vectors, known, self.seen(users), k)

    def rank_vectors(self, vectors: Array, known: Array, seen: sparse.csr_matrix, k: int) -> Ranked:
        """As `rank`, of users whose vectors come from elsewhere, such as a history.

        Args:
            vectors: float32 (m, d); rows of unknown users are not looked at.
            known: bool (m,): who has a vector; all others get the popular items.
            seen: CSR (m, items), as of `seen`.
            k: At least 1.
        """
        positions, scores = self._search(self._allowed, vectors, k, seen)
        cold = np.flatnonzero(~known)
        if len(cold):
            ones = np.ones((len(cold), 1), np.float32)
            positions[cold], scores[cold] = self._search(self._popular, ones, k, seen[cold])
        return Ranked(positions, scores, ~known)

    def _search(
        self, index: CatalogueIndex, vectors: Array, k: int, seen: sparse.csr_matrix
    ) -> tuple[Array, Array]:
        if self.rules.categories is None:
            return index.search(vectors, k, seen)
        return search_capped(index, vectors, k, seen, self.rules.categories, self.rules.most)
