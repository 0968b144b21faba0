"""What every index over one catalogue does: the seen filter before the cut, and how ties fall.

An index finds candidates fast, in float32; the order of what is returned is then settled in
float64, so that equal vectors get equal scores, a batch of users gets what each would get alone,
and ties fall to the lowest item row, in whatever order items were put in. An exact index tells
besides how good an item that it did not fetch can be; where that may have cut through a tie, all
scores of the user are computed again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError, DataError
from lorarec.retrieval.top import best_of
from lorarec.retrieval.vectors import Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Fetched beyond k + seen, so that near-ties at the cut rarely need all scores.
SPARE = 16
# Above this share of the catalogue, all scores are cheaper than a FAISS heap of that size.
FETCH_ALL = 0.5
# Numbers that one batch may hold at once (64 MiB as float32).
BUDGET = 1 << 24


class CatalogueIndex(ABC):
    """Top k over the items of one catalogue, each called by its item row."""

    item_rows: Ints
    """(n,), strictly ascending: the item row of each position."""
    dim: int
    """d: length of a user's vector."""

    def __len__(self) -> int:
        """The number of items."""
        return len(self.item_rows)

    @abstractmethod
    def only(self, item_rows: npt.ArrayLike) -> CatalogueIndex:
        """An index of some of the items: an allow-list.

        Args:
            item_rows: int64 (m,), any order, repeats allowed.

        Raises:
            DataError: Some are not here.
        """

    @abstractmethod
    def _queries(self, user_vectors: npt.ArrayLike) -> Floats:
        """Users as the index multiplies them: float32 (m, …), finite; `DataError` otherwise."""

    @abstractmethod
    def _candidates(self, users: Floats, fetch: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        """The likely best of each user.

        Returns:
            Positions int64 (b, f), f ≥ fetch, in no order, -1 for none; and float (b,): what no
            item that was left out scores above. -inf is no promise: then whatever is found is
            taken, as long as there is enough of it.
        """

    @abstractmethod
    def _rescored(self, users: Floats, positions: Ints) -> Floats:
        """Scores float32 (b, f) of positions, summed in float64."""

    @abstractmethod
    def _scores(self, users: Floats) -> Floats:
        """Scores float32 (b, n) of all items, summed in float64."""

    def _held(self, fetch: int) -> int:
        """Numbers that a user holds while `fetch` candidates are looked for."""
        return fetch * (self.dim + 1)

    def search(
        self,
        user_vectors: npt.ArrayLike,
        k: int,
        seen: csr_matrix | None = None,
        batch: int = 4096,
    ) -> tuple[Ints, Floats]:
        """The k best unseen items of each user: score descending, ties to the lowest item row.

        Seen items are removed before the cut, never after it: k + |seen| candidates are fetched,
        users of like seen counts together.

        Args:
            user_vectors: float32 (m, d).
            k: How many items a user, at least 1; may exceed the catalogue.
            seen: CSR (m, n) over positions in `item_rows`; every stored entry is left out.
            batch: At most this many users at once (fewer where memory asks for it).

        Returns:
            Item rows int64 (m, k) and scores float32 (m, k). Where a user has fewer than k items
            left, the rest is row -1 with score -inf. Never NaN.

        Raises:
            ConfigError: k or batch is below 1.
            DataError: NaN or infinity in the vectors, or shapes that do not fit.
        """
        if k < 1:
            raise ConfigError(f"k is {k}. Expected at least 1 item to return.")
        if batch < 1:
            raise ConfigError(f"batch is {batch}. Expected at least 1 user at a time.")
        users = self._queries(user_vectors)
        seen = self._checked_seen(seen, len(users))
        rows = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.full((len(users), k), -np.inf, dtype=np.float32)
        depth = min(k, len(self))
        if depth == 0:
            return rows, scores
        for chosen, fetch in self._batches(len(users), depth, seen, batch):
            part = None if seen is None else seen[chosen]
            positions, best = self._search_batch(users[chosen], depth, fetch, part)
            rows[chosen, :depth] = np.where(best > -np.inf, self.item_rows[positions], -1)
            scores[chosen, :depth] = best
        return rows, scores

    def _checked_seen(self, seen: csr_matrix | None, users: int) -> csr_matrix | None:
        if seen is None:
            return None
        if seen.shape != (users, len(self)):
            raise DataError(
                f"seen has shape {seen.shape}. Expected ({users}, {len(self)}): "
                f"users searched for by positions in the catalogue."
            )
        seen = seen.tocsr()
        return seen if seen.has_sorted_indices else seen.sorted_indices()

    def _batches(
        self, users: int, depth: int, seen: csr_matrix | None, batch: int
    ) -> Iterator[tuple[Ints, int]]:
        """User indices that are searched together, and how many candidates they fetch."""
        n = len(self)
        need = np.full(users, depth + SPARE, dtype=np.int64)
        if seen is not None:
            need += np.diff(seen.indptr)
        # One bucket for each power of two: no user fetches more than about twice its need.
        bucket = np.frexp(need.astype(np.float64))[1]
        for level in np.unique(bucket):
            members = np.flatnonzero(bucket == level)
            fetch = min(n, int(need[members].max()))
            if fetch >= FETCH_ALL * n:
                fetch = n
            held = n if fetch == n else self._held(fetch)
            step = max(1, min(batch, BUDGET // held))
            for start in range(0, len(members), step):
                yield members[start : start + step], fetch

    def _search_batch(
        self, users: Floats, k: int, fetch: int, seen: csr_matrix | None
    ) -> tuple[Ints, Floats]:
        """Positions and scores (b, k); -inf marks what is padding."""
        if fetch == len(self):
            return self._search_all(users, k, seen)
        positions, bound = self._candidates(users, fetch)
        # By position, so that the lowest column of a tie is the lowest item row.
        positions = np.sort(positions, axis=1)
        scores = self._rescored(users, np.maximum(positions, 0))
        scores[positions < 0] = -np.inf
        if seen is not None:
            scores[self._is_seen(positions, seen)] = -np.inf
        columns, best = best_of(scores, k)
        positions = np.maximum(np.take_along_axis(positions, columns, axis=1), 0)
        # A kth score above all that was left out is safe; any other user is resolved in full, one
        # with fewer than k candidates (-inf) among them.
        doubtful = np.flatnonzero(best[:, -1] <= bound)
        step = max(1, BUDGET // len(self))
        for start in range(0, len(doubtful), step):
            again = doubtful[start : start + step]
            part = None if seen is None else seen[again]
            positions[again], best[again] = self._search_all(users[again], k, part)
        return positions, best

    def _search_all(self, users: Floats, k: int, seen: csr_matrix | None) -> tuple[Ints, Floats]:
        """As `_search_batch`, from the scores of all items."""
        scores = self._scores(users)
        if seen is not None:
            scores[np.repeat(np.arange(len(users)), np.diff(seen.indptr)), seen.indices] = -np.inf
        return best_of(scores, k)

    def _is_seen(self, positions: Ints, seen: csr_matrix) -> npt.NDArray[np.bool_]:
        """bool (b, f): whether each position is stored in its user's row of `seen`."""
        n = len(self)
        users = np.arange(len(positions), dtype=np.int64)
        known = np.repeat(users, np.diff(seen.indptr)) * n + seen.indices
        if not known.size:
            return np.zeros(positions.shape, dtype=np.bool_)
        asked = users[:, None] * n + positions
        place = np.minimum(np.searchsorted(known, asked), known.size - 1)
        found: npt.NDArray[np.bool_] = known[place] == asked
        return found
