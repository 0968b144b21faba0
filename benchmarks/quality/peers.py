"""The peers: EASE and item-kNN in closed form, iALS and BPR of `implicit`, on train rows alone."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse
from scipy.linalg import lapack

from benchmarks.quality.protocols import BLOCK, train_pairs
from lorarec.jobs.implicit_base import one_blas_thread

Array = np.ndarray[Any, Any]
L2 = (50.0, 100.0, 300.0, 1000.0)
"""Ridge penalties of EASE that validation chooses from."""
PLAIN_L2 = 100.0
"""The penalty of the arm `ease`, not tuned."""
IALS = tuple(
    (reg, alpha, factors)
    for factors in (128, 64)
    for alpha in (30.0, 10.0, 100.0, 3.0)
    for reg in (0.3, 3.0)
)
"""Regularization, alpha and factors of iALS that validation chooses from."""
ITERATIONS = 15


class Known(ABC):
    """Scores by ids what a model scores by rows; unknown users and items have 0.

    Args:
        frame: Split logs; only train rows are used, a repeated pair counts once.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.users, self.items, self.pairs = train_pairs(frame)

    @abstractmethod
    def rows(self, users: Array) -> Array:
        """Scores float32 (m, all items) of user rows (m,)."""

    def matrix(self, users: pl.Series, items: pl.Series) -> Array:
        """Scores float32 (users, items)."""
        user, item = (
            known.rows(ids, missing="mark")
            for known, ids in ((self.users, users), (self.items, items))
        )
        scores = np.zeros((len(user), len(item)), np.float32)
        inside = np.flatnonzero(item >= 0)
        for start in range(0, len(user), BLOCK):
            block = np.arange(start, min(len(user), start + BLOCK))
            block = block[user[block] >= 0]
            scores[np.ix_(block, inside)] = self.rows(user[block])[:, item[inside]]
        return scores

    def score(self, users: pl.Series, items: pl.Series) -> Array:
        """Scores float32 (n,) of pairs, in their order."""
        user, item = (
            known.rows(ids, missing="mark")
            for known, ids in ((self.users, users), (self.items, items))
        )
        scores = np.zeros(len(user), np.float32)
        known_pairs = np.flatnonzero((user >= 0) & (item >= 0))
        distinct, place = np.unique(user[known_pairs], return_inverse=True)
        order = np.argsort(place, kind="stable")
        starts = np.arange(0, len(distinct), BLOCK)
        ends = np.searchsorted(place[order], starts + BLOCK)
        begins = np.searchsorted(place[order], starts)
        for start, begin, end in zip(starts, begins, ends, strict=True):
            block = self.rows(distinct[start : start + BLOCK])
            chosen = order[begin:end]
            at = known_pairs[chosen]
            scores[at] = block[place[chosen] - start, item[at]]
        return scores


class Ease(Known):
    """EASE (Steck 2019): B = I - P / diag(P), P = (XᵀX + λI)⁻¹; a user scores x·B.

    Solved in float64, kept in float32.
    """

    def __init__(self, frame: pl.DataFrame, l2: float) -> None:
        super().__init__(frame)
        gram = (self.pairs.T @ self.pairs).toarray(order="F").astype(np.float64)
        gram[np.diag_indices_from(gram)] += l2
        factor, failed = lapack.dpotrf(gram, lower=0, overwrite_a=1)
        inverse, failed_too = lapack.dpotri(factor, lower=0, overwrite_c=1)
        if failed or failed_too:
            raise ValueError(f"EASE with l2 {l2:g} has no Cholesky factor. Expected l2 above 0.")
        weights = np.triu(inverse).astype(np.float32)
        diagonal = np.diagonal(inverse).copy()
        del gram, factor, inverse
        weights += np.triu(weights, 1).T
        weights /= -diagonal.astype(np.float32)
        np.fill_diagonal(weights, 0.0)
        self.weights = weights

    def rows(self, users: Array) -> Array:
        """Each user's train items times the item weights."""
        found: Array = self.pairs[users] @ self.weights
        return found


class Factored(Known):
    """A factorization of `implicit`, a class of it and its options."""

    def __init__(self, frame: pl.DataFrame, kind: Any, **options: Any) -> None:
        super().__init__(frame)
        with one_blas_thread():
            model = kind(num_threads=threads(), use_gpu=False, **options)
            model.fit(sparse.csr_matrix(self.pairs), show_progress=False)
        self.user_factors, self.item_factors = model.user_factors, model.item_factors

    def rows(self, users: Array) -> Array:
        """Inner products of the factors; where items have a bias, it is among them."""
        found: Array = self.user_factors[users] @ self.item_factors.T
        return found


class Ials(Factored):
    """Implicit ALS (Hu, Koren and Volinsky 2008) as `implicit` has it."""

    def __init__(
        self,
        frame: pl.DataFrame,
        regularization: float,
        alpha: float,
        factors: int,
        iterations: int = ITERATIONS,
        seed: int = 0,
    ) -> None:
        from implicit.als import AlternatingLeastSquares

        super().__init__(
            frame,
            AlternatingLeastSquares,
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            random_state=seed,
        )


class Bpr(Factored):
    """Bayesian personalised ranking (Rendle et al. 2009) as `implicit` has it."""

    def __init__(
        self,
        frame: pl.DataFrame,
        learning_rate: float,
        regularization: float,
        factors: int,
        iterations: int = 100,
        seed: int = 0,
    ) -> None:
        from implicit.bpr import BayesianPersonalizedRanking

        super().__init__(
            frame,
            BayesianPersonalizedRanking,
            factors=factors,
            learning_rate=learning_rate,
            regularization=regularization,
            iterations=iterations,
            random_state=seed,
        )


class ItemKnn(Known):
    """Each item by its k most similar ones (Deshpande and Karypis 2004), by shrunk cosine.

    s_ij = ⟨x_i, x_j⟩ / (|x_i| |x_j| + shrink); a user scores the sum over the items it had.
    """

    def __init__(self, frame: pl.DataFrame, neighbours: int, shrink: float) -> None:
        super().__init__(frame)
        norms = np.sqrt(np.asarray(self.pairs.multiply(self.pairs).sum(axis=0)).ravel())
        blocks = []
        for start in range(0, len(norms), BLOCK):  # the whole is too large for large catalogues
            own = np.arange(start, min(len(norms), start + BLOCK))
            similar = (self.pairs.T @ self.pairs[:, own]).toarray()
            similar /= np.outer(norms, norms[own]) + shrink
            similar[own, own - start] = 0.0
            if neighbours < len(similar):
                least = np.partition(similar, -neighbours, axis=0)[-neighbours]
                similar[similar < least] = 0.0
            blocks.append(sparse.csc_matrix(similar.astype(np.float32)))
        self.weights = sparse.csr_matrix(sparse.hstack(blocks))

    def rows(self, users: Array) -> Array:
        """Each user's train items times the similarities."""
        found: Array = (self.pairs[users] @ self.weights).toarray()
        return found


def threads() -> int:
    """`OMP_NUM_THREADS` where it is set, else all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
