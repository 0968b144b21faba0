"""Arms that are trained for an evaluation and are no adapter of the base that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.adapt import recipe, shape, train_adapter
from lorarec.jobs.base_training import train_base
from lorarec.jobs.choose import Chosen
from lorarec.jobs.listener import Listener
from lorarec.jobs.peer_arms import PEERS, peer_arm, rank_peer
from lorarec.jobs.ranking import Arena
from lorarec.jobs.reading import trained_ids
from lorarec.jobs.scorer import Scorer
from lorarec.lora.adapter import Adapter, AdapterInfo, load_adapter
from lorarec.models.base import BaseModel
from lorarec.record import load_record
from lorarec.tracking.registry import finished, resolve
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads

Array = np.ndarray[Any, Any]
RANKED = (*PEERS, "alone")
"""Arms that are trained on the domain's rows and know nothing of the base."""
POOLED = "pooled"


@dataclass(frozen=True)
class Ranker:
    """An arm that ranks by itself.

    Attributes:
        rank: (users, k, seen) → positions int64 (m, k) as `Arena.rank` has them.
        score: (users, items) → scores float32 of pairs.
        parameters: How many numbers it trained.
    """

    rank: Callable[[pl.Series, int, sparse.csr_matrix], Array]
    score: Callable[[pl.Series, pl.Series], Array]
    parameters: int


def ranker(arm: str, settings: Settings, arena: Arena, listen: Listener) -> Ranker:
    """One of `RANKED`, trained on the domain's train rows."""
    set_threads(settings.train.threads)
    if arm == "alone":
        return _alone(settings, arena, listen)
    peer, parameters = peer_arm(arm, settings, arena, listen)
    return Ranker(
        lambda users, k, seen: rank_peer(peer, arena, users, k, seen), peer.score, parameters
    )


def _alone(settings: Settings, arena: Arena, listen: Listener) -> Ranker:
    """A matrix factorization by the settings that a base would have, of the domain alone."""
    own = settings.with_options({"model.name": "mf"})
    users, items = trained_ids(arena.frame)
    listen.say(f"alone: training a base of {arena.domain} alone.")
    device = resolve_device(settings.train.device)
    model, _, _ = train_base(own, arena.frame, users, items, device, listen)
    return _of_model(model, users, items, arena)


class Pooled:
    """The arm `pooled`: a matrix factorization of all domains' rows, as if they were of one.

    So nothing of it knows of domains: not its negatives, nor its biases. It is trained when it is
    first asked for, once for all domains of an evaluation.

    Args:
        settings: Those that a base would be trained by.
        listen: Takes words and progress.
    """

    def __init__(self, settings: Settings, listen: Listener) -> None:
        self._settings, self._listen = settings.with_options({"model.name": "mf"}), listen
        self._model: tuple[BaseModel, Vocabulary, Vocabulary] | None = None
        self._trained_on: object = None

    def arm(
        self, frame: pl.DataFrame, source: DataSource, split: SplitRecord, arena: Arena
    ) -> Ranker:
        """It ranks one domain's catalogue.

        Args:
            frame: Split logs of all domains.
            source: The logs; where they are others than before, it is trained anew.
            split: How they are split, the same.
            arena: The domain.
        """
        now = (source.digest, split.cutoffs)
        if self._model is None or self._trained_on != now:
            self._model, self._trained_on = self._trained(frame), now
        model, users, items = self._model
        return _of_model(model, users, items, arena)

    def _trained(self, frame: pl.DataFrame) -> tuple[BaseModel, Vocabulary, Vocabulary]:
        count = frame["domain"].n_unique()
        self._listen.say(f"{POOLED}: training a base of all {count} domains as one.")
        set_threads(self._settings.train.threads)
        device = resolve_device(self._settings.train.device)
        users, items = trained_ids(frame)
        as_one = frame.with_columns(domain=pl.lit(POOLED))
        model, _, _ = train_base(self._settings, as_one, users, items, device, self._listen)
        return model, users, items


def _of_model(model: BaseModel, users: Vocabulary, items: Vocabulary, arena: Arena) -> Ranker:
    scorer = Scorer(model, users, items, arena.catalogue.series, arena.members)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Ranker(lambda u, k, seen: arena.rank(scorer, u, k, seen)[0], scorer.score, parameters)


def bias_arm(
    settings: Settings,
    domain: str,
    store: Store,
    chosen: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    listen: Listener,
) -> Adapter:
    """An adapter of the domain's bias alone: an earlier run made the same way, or a new one.

    It is recorded as one that was compared and not chosen, so that no later command takes it.
    """
    own = settings.with_options({"adapt.targets": "bias", "adapt.rank": 1})
    config = shape(own, chosen.base)
    found = made_before(store, "adapt", domain, chosen, source, recipe(own, config))
    if found is not None:
        listen.say(f"Bias alone: {found[1]}, made before with the same settings.")
        return found[0]
    listen.say("Bias alone: none made this way yet; training it.")
    trained = train_adapter(
        own, config, domain, store, chosen, frame, source, listen, compared=True
    )
    return trained.adapter


def made_before(
    store: Store, kind: str, domain: str, chosen: Chosen, source: DataSource, made_like: str
) -> tuple[Adapter, str] | None:
    """The newest adapter that was made the same way, of the same logs at the same cut-offs.

    An adapter that moved on to later cut-offs shares base and logs with one that did not, and what
    was trained beside it has seen rows that are held out of the other.

    Args:
        store: Where to look.
        kind: Of its run: `adapt` or `full`.
        domain: Its name.
        chosen: The base, beside the split that it was trained with.
        source: The logs.
        made_like: Its `recipe`.

    Returns:
        The adapter and the URI of its run; None where there is none.
    """
    split = chosen.base.info.split
    for info in finished(
        store,
        [kind],
        domain=domain,
        base_digest=chosen.base.digest,
        data_digest=source.digest,
        recipe=made_like,
        cutoff=None if split.t_test is None else str(split.t_test),
    ):
        folder, _ = resolve(store, info.uri, "adapter")
        if load_record(folder / "adapter.json", AdapterInfo).split.cutoffs == split.cutoffs:
            return load_adapter(folder, chosen.base), info.uri
    return None
