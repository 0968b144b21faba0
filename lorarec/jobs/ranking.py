"""One domain ready to be ranked: its catalogue, what each user has seen, and full rankings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import NotFoundError, did_you_mean
from lorarec.evaluation.baselines import popularity_ranking, popularity_scores
from lorarec.evaluation.drift import Drift, drift
from lorarec.evaluation.metrics import HeldOut
from lorarec.jobs.cold import with_cold
from lorarec.jobs.domain import domain_frame
from lorarec.jobs.scorer import Scorer
from lorarec.lora.adapter import Adapter
from lorarec.models.artefact import Base
from lorarec.retrieval.index import ExactIndex

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Arena:
    """A domain's catalogue and train users; item positions are places in the catalogue."""

    domain: str
    catalogue: Vocabulary
    """Items with a train row in the domain, sorted by id: what it may recommend."""
    popularity: Array
    """float32 (c,): train rows of each catalogue item."""
    members: pl.Series
    """Ids of the domain's train users."""
    frame: pl.DataFrame
    """The domain's rows, split."""

    @classmethod
    def of(cls, frame: pl.DataFrame, domain: str) -> Arena:
        """The arena of a domain.

        Args:
            frame: Split logs of any domains.
            domain: Its name.
        """
        rows = domain_frame(frame, domain)
        train = rows.filter(pl.col("split") == "train")
        catalogue = Vocabulary(train["item_id"].unique().sort())
        counts = popularity_scores(catalogue.rows(train["item_id"]), np.arange(len(catalogue)))
        return cls(domain, catalogue, counts, train["user_id"].unique().sort(), rows)

    def over(self, items: Vocabulary) -> Arena:
        """The same domain with other items for its catalogue, such as those of an index."""
        train = self.frame.filter(pl.col("split") == "train")["item_id"]
        rows = items.rows(train, missing="mark")
        counts = popularity_scores(rows[rows >= 0], np.arange(len(items)))
        return replace(self, catalogue=items, popularity=counts)

    def by_pairs(self) -> Arena:
        """The same domain with popularity in train users: a repeated pair counts once."""
        train = self.frame.filter(pl.col("split") == "train").unique(["user_id", "item_id"])
        rows = self.catalogue.rows(train["item_id"])
        counts = popularity_scores(rows, np.arange(len(self.catalogue)))
        return replace(self, popularity=counts)

    def seen(self, users: pl.Series, parts: tuple[str, ...]) -> sparse.csr_matrix:
        """What users have interacted with in some parts: bool CSR (users, catalogue)."""
        rows = self.frame.filter(pl.col("split").is_in(parts) & pl.col("user_id").is_in(users))
        place = Vocabulary(users).rows(rows["user_id"])
        position = self.catalogue.rows(rows["item_id"], missing="mark")
        inside = position >= 0
        shape = (len(users), len(self.catalogue))
        pairs = (place[inside], position[inside])
        return sparse.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=shape)

    def activity(self, users: pl.Series) -> Array:
        """Train rows in the domain of each user, int64 (m,); 0 for who has none."""
        rows = self.frame.filter((pl.col("split") == "train") & pl.col("user_id").is_in(users))
        place = Vocabulary(users).rows(rows["user_id"])
        return np.bincount(place, minlength=len(users))

    def drift(self, part: str) -> Drift:
        """How far a part is from train, in items and users."""
        rows = self.frame.filter(pl.col("split").is_in(["train", part]))
        counts = (
            rows.group_by("item_id")
            .agg(train=(pl.col("split") == "train").sum(), held_out=(pl.col("split") == part).sum())
            .sort("item_id")
        )
        users = rows.filter(split=part)["user_id"].unique()
        cold = 1.0 - float(users.is_in(self.members.implode()).to_numpy().mean())
        return drift(counts["train"].to_numpy(), counts["held_out"].to_numpy(), cold)

    def popularity_of(self, _: pl.Series, items: pl.Series) -> Array:
        """Scores of (user, item) pairs by the item's train rows; 0 outside of the catalogue."""
        place = self.catalogue.rows(items, missing="mark")
        counts: Array = np.where(place >= 0, self.popularity[place], 0.0)
        return counts

    def held_out(self, part: str) -> tuple[pl.Series, HeldOut]:
        """Users with rows in a part, sorted, and their items; unknown items are certain misses.

        Raises:
            NotFoundError: The domain has no row in that part.
        """
        rows = self.frame.filter(pl.col("split") == part).unique(
            ["user_id", "item_id"], maintain_order=True
        )
        if not rows.height:
            names = self.frame["split"].unique().to_list()
            raise NotFoundError(
                f"Domain {self.domain!r} has no rows in {part!r} to evaluate on."
                f"{did_you_mean(part, names)} Choose a part that has rows, such as --on valid."
            )
        users = rows["user_id"].unique().sort()
        place = Vocabulary(users).rows(rows["user_id"])
        position = self.catalogue.rows(rows["item_id"], missing="mark")
        return users, HeldOut.from_pairs(place, position, len(users))

    def scorer(self, base: Base, adapter: Adapter | None) -> Scorer:
        """The base, or the base with an adapter, over this domain."""
        source = adapter or base
        train = self.frame.filter(pl.col("split") == "train")
        known = with_cold(
            base, source.model, source.users, source.items, train, self.catalogue.series
        )
        return Scorer(*known, self.catalogue.series, self.members)

    def index(self, scorer: Scorer) -> ExactIndex:
        """Exact search over the catalogue, biases folded in."""
        vectors, bias, _ = scorer.item_vectors(self.catalogue.series)
        return ExactIndex(vectors, item_bias=bias)

    def rank(
        self, scorer: Scorer, users: pl.Series, k: int, seen: sparse.csr_matrix
    ) -> tuple[Array, Array, Array]:
        """The k best unseen catalogue items of each user; popular ones for users without a row.

        Returns:
            Positions int64 (m, k) with -1 for nothing, scores float32 (m, k), and a mask (m,) of
            the users that got the popular items.
        """
        vectors, known = scorer.user_vectors(users)
        ranked, scores = self.index(scorer).search(vectors, k, seen)
        cold = np.flatnonzero(~known)
        if len(cold):
            ranked[cold], scores[cold] = self.popular(k, seen[cold])
        return ranked, scores, ~known

    def popular(self, k: int, seen: sparse.csr_matrix) -> tuple[Array, Array]:
        """The k most popular unseen items: positions (m, k) and counts (m, k)."""
        return popularity_ranking(self.popularity, np.arange(len(self.catalogue)), k, seen)
