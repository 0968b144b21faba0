"""The arms that know nothing of bases: item-kNN, EASE, iALS and BPR of the domain alone, tuned.

Each has three trials, as many as an adapter has step sizes by default; the validation part chooses
one by nDCG at the largest cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.config import Settings
from lorarec.data.core import OUTSIDE
from lorarec.errors import NotFoundError
from lorarec.evaluation.baselines import dense_ranking
from lorarec.evaluation.metrics import match, ndcg_at
from lorarec.jobs.listener import Listener
from lorarec.jobs.peers import BLOCK, Bpr, Ease, Factored, Ials, ItemKnn, Known
from lorarec.jobs.ranking import Arena
from lorarec.retrieval.index import ExactIndex

Array = np.ndarray[Any, Any]
Build = Callable[[pl.DataFrame, Settings, Any], Known]


def _ials(rows: pl.DataFrame, settings: Settings, trial: Any) -> Known:
    regularization, alpha = trial
    seed, workers = settings.train.seed, settings.train.threads or None
    return Ials(rows, regularization, alpha, settings.model.dim, seed=seed, workers=workers)


def _bpr(rows: pl.DataFrame, settings: Settings, trial: Any) -> Known:
    step_size, regularization = trial
    seed, workers = settings.train.seed, settings.train.threads or 1
    return Bpr(rows, step_size, regularization, settings.model.dim, seed=seed, workers=workers)


PEERS: dict[str, tuple[Build, tuple[Any, ...], str]] = {
    "knn": (lambda rows, _, k: ItemKnn(rows, k), (100, 20, 300), "neighbours"),
    "ease": (lambda rows, _, l2: Ease(rows, l2), (100.0, 30.0, 300.0), "λ"),
    "ials": (_ials, ((0.3, 10.0), (3.0, 10.0), (0.3, 1.0)), "regularization, alpha"),
    "bpr": (_bpr, ((0.05, 0.01), (0.2, 0.01), (0.05, 0.1)), "step size, regularization"),
}
"""Arm → how it is made, its trials, the likeliest first, and what they vary."""


def peer_arm(name: str, settings: Settings, arena: Arena, listen: Listener) -> tuple[Known, int]:
    """One arm, trained on the domain's train rows at each trial; validation keeps one.

    Returns:
        The peer, and how many numbers it has trained.
    """
    build, trials, varied = PEERS[name]
    rows = arena.frame.filter(pl.col("split") == "train")
    k = max(settings.evaluate.k)
    try:
        users, held_out = arena.held_out("valid")
    except NotFoundError:
        listen.say(f"{name}: nothing to validate on, so {varied} is {trials[0]}.")
        peer = build(rows, settings, trials[0])
        return peer, _parameters(peer)
    seen = arena.seen(users, ("train", OUTSIDE))
    best: tuple[float, Any, Known] | None = None
    for trial in trials:
        peer = build(rows, settings, trial)
        hits = match(rank_peer(peer, arena, users, k, seen), held_out)
        value = float(np.nanmean(ndcg_at(hits, k)))
        if best is None or value > best[0]:
            best = value, trial, peer
    assert best is not None
    listen.say(f"{name}: validation chose {varied} {best[1]} of {len(trials)}.")
    return best[2], _parameters(best[2])


def _parameters(peer: Known) -> int:
    if isinstance(peer, Factored):
        return int(peer.user_factors.size + peer.item_factors.size)
    weights = getattr(peer, "weights", None)
    return int(weights.nnz if sparse.issparse(weights) else weights.size)  # type: ignore[union-attr]


def rank_peer(
    peer: Known, arena: Arena, users: pl.Series, k: int, seen: sparse.csr_matrix
) -> Array:
    """The k best unseen catalogue items of each user, as `Arena.rank` has them: int64 (m, k).

    A user that the peer does not know gets the popular items.
    """
    own = peer.users.rows(users, missing="mark")
    ranked = np.full((len(users), k), -1, dtype=np.int64)
    known, cold = np.flatnonzero(own >= 0), np.flatnonzero(own < 0)
    place = peer.items.rows(arena.catalogue.series)
    if isinstance(peer, Factored):
        index = ExactIndex(peer.item_factors[place])
        ranked[known] = index.search(peer.user_factors[own[known]], k, seen[known])[0]
    else:
        for start in range(0, len(known), BLOCK):
            block = known[start : start + BLOCK]
            scores = peer.rows(own[block])[:, place]
            ranked[block] = dense_ranking(scores, k, seen[block])
    if len(cold):
        ranked[cold] = arena.popular(k, seen[cold])[0]
    return ranked
