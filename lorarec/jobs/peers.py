"""The peers of an arm: EASE in closed form, iALS, BPR and item-kNN of `implicit`, on train rows."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse
from scipy.linalg import lapack

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError
from lorarec.jobs.implicit_base import one_blas_thread

Array = np.ndarray[Any, Any]
BLOCK = 1024
"""Users whose scores of a catalogue are held at once."""
ITERATIONS = 15
"""Passes of iALS."""


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
            raise ConfigError(f"EASE with l2 {l2:g} has no Cholesky factor. Expected l2 above 0.")
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
    """A factorization of `implicit`, a class of it and its options.

    BPR gives the same numbers again on one thread alone; `workers` None is `threads()`.
    """

    def __init__(
        self, frame: pl.DataFrame, kind: Any, workers: int | None = None, **options: Any
    ) -> None:
        super().__init__(frame)
        with one_blas_thread():
            model = kind(num_threads=workers or threads(), use_gpu=False, **options)
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
        workers: int | None = None,
    ) -> None:
        from implicit.als import AlternatingLeastSquares

        super().__init__(
            frame,
            AlternatingLeastSquares,
            workers,
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
        workers: int | None = None,
    ) -> None:
        from implicit.bpr import BayesianPersonalizedRanking

        super().__init__(
            frame,
            BayesianPersonalizedRanking,
            workers,
            factors=factors,
            learning_rate=learning_rate,
            regularization=regularization,
            iterations=iterations,
            random_state=seed,
        )


class ItemKnn(Known):
    """Each item by its k most similar ones by cosine (Sarwar et al. 2001), as `implicit` has it."""

    def __init__(self, frame: pl.DataFrame, neighbours: int) -> None:
        from implicit.nearest_neighbours import CosineRecommender
        from implicit.utils import ParameterWarning

        super().__init__(frame)
        model = CosineRecommender(K=neighbours, num_threads=threads())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ParameterWarning)  # of a conversion of its own
            model.fit(sparse.csr_matrix(self.pairs), show_progress=False)
        # An item is its own nearest neighbour: as it was had, it is not recommended anyhow.
        self.weights = sparse.csr_matrix(model.similarity).astype(np.float32)

    def rows(self, users: Array) -> Array:
        """Each user's train items times the similarities."""
        found: Array = (self.pairs[users] @ self.weights).toarray()
        return found


def train_pairs(frame: pl.DataFrame) -> tuple[Vocabulary, Vocabulary, sparse.csr_matrix]:
    """Users and items of the train rows, and who had what: float32 CSR of ones."""
    train = frame.filter(pl.col("split") == "train").unique(
        ["user_id", "item_id"], maintain_order=True
    )
    users = Vocabulary(train["user_id"].unique(maintain_order=True))
    items = Vocabulary(train["item_id"].unique(maintain_order=True))
    places = (users.rows(train["user_id"]), items.rows(train["item_id"]))
    ones = np.ones(train.height, np.float32)
    return users, items, sparse.csr_matrix((ones, places), shape=(len(users), len(items)))


def threads() -> int:
    """`OMP_NUM_THREADS` where it is set, else all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
