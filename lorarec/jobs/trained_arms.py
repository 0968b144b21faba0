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
from lorarec.jobs.adapt import recipe, shape, train_adapter
from lorarec.jobs.base_training import train_base
from lorarec.jobs.choose import Chosen
from lorarec.jobs.listener import Listener
from lorarec.jobs.peer_arms import PEERS, peer_arm, rank_peer
from lorarec.jobs.ranking import Arena
from lorarec.jobs.reading import trained_ids
from lorarec.jobs.scorer import Scorer
from lorarec.lora.adapter import Adapter, AdapterInfo, load_adapter
from lorarec.record import load_record
from lorarec.tracking.registry import finished, resolve
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads

Array = np.ndarray[Any, Any]
RANKED = (*PEERS, "alone")
"""Arms that are trained on the domain's rows and know nothing of the base."""


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
