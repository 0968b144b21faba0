"""Exact top-k by inner product over one catalogue, with the seen filter inside.

FAISS finds candidates fast, in float32; the order of what is returned is then settled in float64,
so that equal vectors get equal scores, a batch of users gets what each would get alone, and ties
fall to the lowest item row. Where FAISS may have cut through a tie, all scores of that user are
computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Fetched beyond k + seen, so that near-ties at the cut rarely need all scores.
_SPARE = 16
# Above this share of the catalogue, all scores are cheaper than a FAISS heap of that size.
_FETCH_ALL = 0.5
# Numbers that one batch may hold at once (64 MiB as float32).
_BUDGET = 1 << 24


def _faiss() -> Any:
    """FAISS, told to use matrix products for batches of some hundred users already.

    The threshold is compared with queries × dimension and is a process-wide setting; it is only
    ever lowered. The number of threads stays what the caller or the environment has set.
    """
    import faiss

    threshold = 800 * faiss.omp_get_max_threads()
    if faiss.cvar.distance_compute_blas_threshold > threshold:
        faiss.cvar.distance_compute_blas_threshold = threshold
    return faiss


def _checked(name: str, vectors: npt.ArrayLike, labels: Ints | None = None) -> Floats:
    """Finite float32 (n, d), or a `DataError` that names the first five bad rows."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2:
        raise DataError(f"{name} have shape {array.shape}. Expected two dimensions: (rows, d).")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        rows = (bad if labels is None else labels[bad])[:5].tolist()
        raise DataError(
            f"{bad.size} of {len(array)} {name} hold NaN or infinity, first rows: {rows}. "
            f"Expected finite numbers; the model has diverged, train it again with a lower "
            f"learning rate."
        )
    return array


def _largest_norm(vectors: Floats) -> float:
    """The largest Euclidean norm of a row, in float64 so that it cannot overflow."""
    if not len(vectors):
        return 0.0
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64).max()))


def _best(scores: Floats, k: int) -> tuple[Ints, Floats]:
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


class ExactIndex:
    """All items of one catalogue, searched exactly by inner product plus item bias.

    score(u, i) = <u, v_i> + b_i, computed as one product of (u, 1) with (v_i, b_i).

    Args:
        item_vectors: float32 (n, d), one row an item.
        item_rows: int64 (n,), strictly ascending: the item row of each position. None: 0 … n-1.
        item_bias: float32 (n,) added to each item's score. None: no bias.

    Raises:
        DataError: NaN or infinity in vectors or bias, or arrays that do not fit together.
    """

    def __init__(
        self,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike | None = None,
        item_bias: npt.ArrayLike | None = None,
    ) -> None:
        n = len(np.asarray(item_vectors))
        self.item_rows: Ints = (
            np.arange(n, dtype=np.int64)
            if item_rows is None
            else np.array(item_rows, dtype=np.int64)
        )
        if self.item_rows.shape != (n,):
            raise DataError(
                f"item_rows has shape {self.item_rows.shape}. Expected ({n},), one a vector."
            )
        disordered = np.flatnonzero(np.diff(self.item_rows) <= 0)
        if disordered.size or (n and self.item_rows[0] < 0):
            raise DataError(
                f"item_rows is not strictly ascending from 0 on; first places: "
                f"{disordered[:5].tolist()}. Expected each item once, sorted."
            )
        vectors = _checked("item vectors", item_vectors, self.item_rows)
        self.dim = vectors.shape[1]
        self._biased = item_bias is not None
        if item_bias is not None:
            bias = np.asarray(item_bias, dtype=np.float32)
            if bias.shape != (n,):
                raise DataError(f"item_bias has shape {bias.shape}. Expected ({n},).")
            bias = _checked("item biases", bias[:, None], self.item_rows)
            vectors = np.concatenate([vectors, bias], axis=1)
        self._largest_norm = _largest_norm(vectors)
        faiss = _faiss()
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        if n:
            self._index.add(vectors)
            # A view of FAISS's own copy: the catalogue is held once.
            held = faiss.rev_swig_ptr(self._index.get_xb(), vectors.size)
            self._vectors: Floats = held.reshape(vectors.shape)
        else:
            self._vectors = vectors

    def __len__(self) -> int:
        """The number of items."""
        return len(self.item_rows)

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

    def _queries(self, user_vectors: npt.ArrayLike) -> Floats:
        users = _checked("user vectors", user_vectors)
        if users.shape[1] != self.dim:
            raise DataError(
                f"User vectors have {users.shape[1]} dimensions, the items {self.dim}. "
                f"Expected vectors of the same model."
            )
        if self._biased:
            users = np.concatenate([users, np.ones((len(users), 1), dtype=np.float32)], axis=1)
        largest = _largest_norm(users) * self._largest_norm
        if largest >= float(np.finfo(np.float32).max):
            raise DataError(
                f"Scores may be as large as {largest:.3g}, more than float32 can hold. Expected "
                f"vectors of moderate length; the model has diverged, train it again."
            )
        return users

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
        n, width = self._vectors.shape
        need = np.full(users, depth + _SPARE, dtype=np.int64)
        if seen is not None:
            need += np.diff(seen.indptr)
        # One bucket for each power of two: no user fetches more than about twice its need.
        bucket = np.frexp(need.astype(np.float64))[1]
        for level in np.unique(bucket):
            members = np.flatnonzero(bucket == level)
            fetch = min(n, int(need[members].max()))
            if fetch >= _FETCH_ALL * n:
                fetch = n
            held = n if fetch == n else fetch * width
            step = max(1, min(batch, _BUDGET // held))
            for start in range(0, len(members), step):
                yield members[start : start + step], fetch

    def _search_batch(
        self, users: Floats, k: int, fetch: int, seen: csr_matrix | None
    ) -> tuple[Ints, Floats]:
        """Positions and scores (b, k); -inf marks what is padding."""
        if fetch == len(self):
            return self._search_all(users, k, seen)
        found, positions = self._index.search(users, fetch)
        # By position, so that the lowest column of a tie is the lowest item row.
        positions = np.sort(positions, axis=1)
        scores = np.einsum(
            "bfd,bd->bf", self._vectors[positions], users, dtype=np.float64, casting="same_kind"
        ).astype(np.float32)
        if seen is not None:
            scores[self._is_seen(positions, seen)] = -np.inf
        columns, best = _best(scores, k)
        positions = np.take_along_axis(positions, columns, axis=1)
        # What FAISS left out scores at most its last score plus its rounding error (Higham 2002,
        # section 3.1, doubled); a kth score above that is safe, any other user is resolved in full.
        norms = np.sqrt(np.einsum("bd,bd->b", users, users, dtype=np.float64))
        error = (users.shape[1] + 2) * 2.0**-23 * norms * self._largest_norm
        doubtful = np.flatnonzero(best[:, -1] <= found[:, -1] + error)
        step = max(1, _BUDGET // len(self))
        for start in range(0, len(doubtful), step):
            again = doubtful[start : start + step]
            part = None if seen is None else seen[again]
            positions[again], best[again] = self._search_all(users[again], k, part)
        return positions, best

    def _search_all(self, users: Floats, k: int, seen: csr_matrix | None) -> tuple[Ints, Floats]:
        """As `_search_batch`, from the scores of all items."""
        n, width = self._vectors.shape
        scores = np.empty((len(users), n), dtype=np.float32)
        wide = users.astype(np.float64)
        step = max(1, _BUDGET // (2 * width))
        for start in range(0, n, step):
            block = self._vectors[start : start + step].astype(np.float64)
            scores[:, start : start + step] = wide @ block.T
        if seen is not None:
            scores[np.repeat(np.arange(len(users)), np.diff(seen.indptr)), seen.indices] = -np.inf
        return _best(scores, k)

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
