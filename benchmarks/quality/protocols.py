"""How arms are measured: candidate lists, full rankings, validation; one row an evaluated user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.evaluation.baselines import dense_ranking
from lorarec.evaluation.evaluate import evaluate_ranking
from lorarec.evaluation.metrics import sampled_ndcg_at
from lorarec.jobs.peers import BLOCK
from lorarec.jobs.ranking import Arena

Array = np.ndarray[Any, Any]
PairScores = Callable[[pl.Series, pl.Series], Array]
"""Scores of (user, item) pairs, in their order, as `Scorer.score` gives them."""
SAMPLED, RECALL = "ndcg_at_10_sampled", "recall_at_20"
METRICS = {SAMPLED: "ndcg", RECALL: "recall"}
"""The two measures and their units."""
CUT, SAMPLED_CUT = 20, 10


class Ranker(Protocol):
    """A model that scores users by items."""

    def matrix(self, users: pl.Series, items: pl.Series) -> Array:
        """Scores float32 (users, items); what the model does not know is 0."""


class Peer(Ranker, Protocol):
    """One that scores pairs too."""

    def score(self, users: pl.Series, items: pl.Series) -> Array:
        """Scores float32 (n,) of pairs."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Candidate lists of a market: one held-out item among items that the user never had.

    Attributes:
        users: Ids (m,), sorted.
        candidates: Ids (m * width,): of each user the held-out item, then its negatives.
        width: Candidates a user.
    """

    users: pl.Series
    candidates: pl.Series
    width: int


def candidate_lists(path: Path, market: str, part: str = "test") -> Lists:
    """The ECIR'23 lists of a market: 1 + 99 a user."""
    rows = (
        pl.read_parquet(path)
        .filter((pl.col("domain") == market) & (pl.col("split") == part))
        .sort("user_id")
        .select("user_id", pl.concat_list("pos_item_id", "neg_item_ids").alias("candidates"))
    )
    widths = rows["candidates"].list.len().unique().to_list()
    if len(widths) != 1 or rows["user_id"].is_duplicated().any():
        raise ValueError(
            f"The lists of {market} in {path} have {widths} candidates. Expected one list of one "
            f"length for each user."
        )
    return Lists(rows["user_id"], rows["candidates"].explode(), widths[0])


def sampled_ndcg(score: PairScores, lists: Lists) -> Array:
    """nDCG@10 of each user's held-out item among its candidates; a tie counts as a miss."""
    users = lists.users.gather(np.repeat(np.arange(len(lists.users)), lists.width))
    scores = np.asarray(score(users, lists.candidates)).reshape(-1, lists.width)
    return sampled_ndcg_at(scores[:, 0], scores[:, 1:], SAMPLED_CUT)


def popularity(arena: Arena) -> PairScores:
    """Scores pairs by the item's train rows in the market; an item without any has 0."""

    def score(_: pl.Series, items: pl.Series) -> Array:
        place = arena.catalogue.rows(items, missing="mark")
        counts: Array = np.where(place >= 0, arena.popularity[place], 0.0)
        return counts

    return score


def same_users(lists: Lists, users: pl.Series) -> None:
    """Refuse arms or metrics that were measured on different users."""
    if lists.users.to_list() != users.to_list():
        raise ValueError(
            f"There are {len(lists.users)} candidate lists and {len(users)} users with held-out "
            f"rows, not of the same users. Expected both for each."
        )


def measure_peer(peer: Peer, arena: Arena, lists: Lists | None) -> dict[str, Array]:
    """A peer's measures on the test users, with the catalogue and filter of our own arms.

    Without candidate lists it is recall alone.
    """
    users, held_out = arena.held_out("test")
    seen = arena.seen(users, ("train", "valid"))
    ranked = rank_peer(peer, arena, users, seen)
    found = evaluate_ranking(ranked, held_out, [CUT], metrics=["recall"], resamples=1)
    if lists is None:
        return {RECALL: found.per_user[RECALL]}
    same_users(lists, users)
    return {SAMPLED: sampled_ndcg(peer.score, lists), RECALL: found.per_user[RECALL]}


def rank_peer(
    peer: Ranker,
    arena: Arena,
    users: pl.Series,
    seen: sparse.csr_matrix,
    among: Array | None = None,
) -> Array:
    """The best 20 of the catalogue for each user: positions int64 (m, 20), -1 for nothing.

    Args:
        peer: Scores users by items.
        arena: Has the catalogue.
        users: Ids (m,).
        seen: (m, catalogue): what each user has had, which is left out.
        among: bool (catalogue,): rank these alone; None ranks all.
    """
    blocks = []
    for block in _blocks(len(users)):
        scores = peer.matrix(users[block], arena.catalogue.series)
        if among is not None:
            scores[:, ~among] = -np.inf
        blocks.append(dense_ranking(scores, CUT, seen[block]))
    return np.concatenate(blocks)


def validate_peer(peer: Peer, arena: Arena) -> float:
    """Mean nDCG without a cut-off on the validation users: what our own training stops on.

    Full ranking over the catalogue with the train rows removed. A tie counts against the held-out
    item; one that is outside the catalogue, or was seen, counts 0.
    """
    users, held_out = arena.held_out("valid")
    seen = arena.seen(users, ("train",))
    gains = np.zeros(len(users))
    for block in _blocks(len(users)):
        scores = _unseen(peer, arena, users, seen, block)
        places = held_out.indptr[block.start : block.stop + 1]
        rows = held_out.rows[places[0] : places[-1]]
        own = np.repeat(np.arange(len(scores)), np.diff(places))
        held = scores[own, rows]
        rank = np.array([np.sum(scores[u] >= score) for u, score in zip(own, held, strict=True)])
        found = np.where(np.isfinite(held), 1 / np.log2(rank + 1), 0.0) if len(held) else held
        gains[block] = np.bincount(own, found, len(scores))
    ideal = np.cumsum(1 / np.log2(np.arange(2, int(held_out.sizes.max()) + 2)))
    return float((gains / ideal[held_out.sizes - 1]).mean())


def _blocks(users: int) -> list[slice]:
    return [slice(start, min(users, start + BLOCK)) for start in range(0, users, BLOCK)]


def _unseen(
    peer: Ranker, arena: Arena, users: pl.Series, seen: sparse.csr_matrix, block: slice
) -> Array:
    """Scores of the catalogue for some users, -inf where the user has had the item."""
    scores = peer.matrix(users[block], arena.catalogue.series)
    part = seen[block]
    scores[np.repeat(np.arange(len(scores)), np.diff(part.indptr)), part.indices] = -np.inf
    return scores
