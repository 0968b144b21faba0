"""Recommend to users of one domain, and score given pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.core import OUTSIDE
from lorarec.data.tables import read_table, write_table
from lorarec.data.timeline import LATER
from lorarec.errors import DataError
from lorarec.jobs.choose import choose_adapter, choose_base
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.ranking import Arena
from lorarec.jobs.recommend_users import POPULAR
from lorarec.jobs.recommender import Recommender
from lorarec.jobs.rules import Resolved, Rules, resolve
from lorarec.jobs.scorer import Scorer
from lorarec.lora.adapter import Adapter
from lorarec.models.artefact import Base
from lorarec.retrieval.artefact import StoredIndex
from lorarec.retrieval.augmented_artefact import StoredDomain
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.torch_index import TorchIndex
from lorarec.tracking.store import Store

SEEN_PARTS = ("train", OUTSIDE, "valid", "test", LATER)
"""A live recommendation leaves out everything the user has had."""


@dataclass(frozen=True)
class Recommended:
    """A user's ranked items."""

    user: str
    domain: str
    items: list[str]
    """Ids, best first; fewer than k where the catalogue has no more unseen ones."""
    scores: list[float]
    """Scores of the model, or popularity counts where it fell back."""
    fallback: str | None
    """`popular` when neither base nor adapter knows the user."""


@dataclass(frozen=True)
class Scored:
    """What `score_pairs` wrote."""

    path: Path
    rows: int
    cold_users: int
    """Rows whose user has no vector."""
    cold_items: int
    """Rows whose item has no vector."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A domain and the model that serves it."""

    arena: Arena
    scorer: Scorer
    base: Base
    adapter: Adapter | None


def prepare(
    domain: str,
    store: Store,
    base: str | None = None,
    adapter: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> Ready:
    """Choose a base and an adapter and make the domain ready to rank and score.

    Args:
        domain: Its name.
        store: Where base and adapter are.
        base: URI; None is the newest.
        adapter: URI, or `none`; None is the newest of the domain on the base.
        paths: Other logs than the base's, by choice.
        listen: Takes words.
    """
    chosen = choose_base(store, base, listen, adapter)
    found = choose_adapter(store, adapter, chosen.base, domain, listen)
    if found is None and adapter is None:
        listen.say(
            f"Adapter: none of {domain} on this base yet; the bare base is used. "
            f"Make one: lorarec adapt --domain {domain} --rank 8"
        )
    if found is not None:
        chosen = chosen.beside(found.info)
    return ready_of(domain_rows(chosen.base, domain, paths), domain, chosen.base, found)


def domain_rows(base: Base, domain: str, paths: Sequence[Path] = ()) -> pl.DataFrame:
    """The logs of a base at its split, where rows of other domains may be missing.

    Nothing is trained or measured: train only says what can be recommended and what is popular.

    Args:
        base: With its logs and split.
        domain: Its name.
        paths: Other logs than the base's, by choice.
    """
    info = base.info
    frame, _ = info.data.read_again(info.split, paths, learns=False, domain=domain)
    return frame


def ready_of(frame: pl.DataFrame, domain: str, base: Base, adapter: Adapter | None) -> Ready:
    """A domain made ready to rank and score by a base and an adapter that were loaded.

    Args:
        frame: Split logs that have the domain's rows, as of `domain_rows`.
        domain: Its name.
        base: Its base, at the split of the adapter.
        adapter: Of the domain on the base; None is the bare base.

    Raises:
        NotFoundError: The logs have no row of the domain.
    """
    arena = Arena.of(frame, domain)
    return Ready(arena, arena.scorer(base, adapter), base, adapter)


def recommender(
    ready: Ready,
    rules: Rules | None = None,
    index: StoredIndex | StoredDomain | None = None,
    device: str = "cpu",
    listen: Listener = SILENT,
) -> Recommender:
    """Ready to rank for any number of users.

    Args:
        ready: From `prepare`.
        rules: What may be recommended; None is the whole catalogue.
        index: One of `open_any`; None searches exactly.
        device: Where exact search runs: FAISS on `cpu`, torch on a GPU such as `cuda`.
        listen: Takes words.

    Raises:
        NotFoundError, DataError, ConfigError: As `resolve`.
    """
    arena = ready.arena
    found: CatalogueIndex
    if index is not None:
        arena, found = arena.over(index.items), index.index
    elif device == "cpu":
        found = arena.index(ready.scorer)
    else:
        vectors, bias, _ = ready.scorer.item_vectors(arena.catalogue.series)
        found = TorchIndex(vectors, item_bias=bias, device=device)
    resolved = Resolved()
    if rules is not None:
        known = ready.scorer.items
        resolved = resolve(rules, arena.catalogue, known, arena.domain, listen)
    return Recommender(arena, ready.scorer, found, SEEN_PARTS, resolved)


def recommend(ready: Ready, user: str, k: int, by: Recommender | None = None) -> Recommended:
    """The user's k best items of the domain's catalogue that it has not seen.

    Args:
        ready: From `prepare`.
        user: Its id; an unknown one gets the popular items, marked so.
        k: At least 1; a catalogue with fewer unseen items gives what there is.
        by: From `recommender`, with rules or an index; None has neither.
    """
    by = by or recommender(ready)
    ranked = by.rank(pl.Series("user_id", [user], dtype=pl.String), k)
    there = ranked.positions[0] >= 0
    return Recommended(
        user=user,
        domain=ready.arena.domain,
        items=by.arena.catalogue.take(ranked.positions[0][there]).to_list(),
        scores=[float(score) for score in ranked.scores[0][there]],
        fallback=POPULAR if ranked.cold[0] else None,
    )


def score_pairs(
    ready: Ready, pairs: Path, out: Path, settings: Settings, listen: Listener = SILENT
) -> Scored:
    """Score given (user, item) pairs and write them with a column `score`, in their order.

    Args:
        ready: From `prepare`.
        pairs: Parquet, CSV, TSV or NDJSON with the columns `user_id` and `item_id`, renamed by
            `[data.columns]` where they have other names; other columns are kept.
        out: What to write; the suffix says the format.
        settings: For the names of the columns.
        listen: Takes words.

    Raises:
        DataError: The file cannot be read, lacks a column, or has an empty id.
    """
    table = read_table(pairs)
    names = {name: settings.data.columns.get(name, name) for name in ("user_id", "item_id")}
    missing = [own for own in names.values() if own not in table.columns]
    if missing:
        raise DataError(
            f"{pairs} lacks the column {missing[0]!r}; it has {', '.join(table.columns)}. Expected "
            f"user_id and item_id. Rename with --set data.columns.user_id=NAME"
        )
    users, items = (table[names[name]].cast(pl.String) for name in ("user_id", "item_id"))
    empty = users.null_count() + items.null_count()
    if empty:
        places = np.flatnonzero((users.is_null() | items.is_null()).to_numpy())[:5].tolist()
        raise DataError(
            f"{pairs} has {empty} empty ids, in rows {places} (from 0). Expected an id in each."
        )
    scores = ready.scorer.score(users, items)
    cold_users, cold_items = (
        int((vocabulary.rows(ids, missing="mark") < 0).sum())
        for vocabulary, ids in ((ready.scorer.users, users), (ready.scorer.items, items))
    )
    write_table(table.with_columns(pl.Series("score", scores, dtype=pl.Float32)), out)
    if cold_users or cold_items:
        listen.say(
            f"{cold_users:,} rows have a user and {cold_items:,} an item without a vector; they "
            f"were scored by the domain's mean."
        )
    return Scored(out, table.height, cold_users, cold_items)


def as_dict(found: Recommended) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "user": found.user,
        "domain": found.domain,
        "fallback": found.fallback,
        "items": [
            {"rank": place + 1, "item": item, "score": score}
            for place, (item, score) in enumerate(zip(found.items, found.scores, strict=True))
        ],
    }
