"""The arms `lora:R`: one adapter of each rank that is asked for, side by side in one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lorarec.config import Settings
from lorarec.config.arms import rank_of
from lorarec.data.source import DataSource
from lorarec.jobs.adapt import shape, train_adapter
from lorarec.jobs.choose import Chosen
from lorarec.jobs.listener import Listener
from lorarec.lora.adapter import Adapter, load_adapter
from lorarec.lora.config import MIXED
from lorarec.models.artefact import Base
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished, resolve
from lorarec.tracking.store import Store


def rank_adapters(
    arms: Sequence[str], domain: str, store: Store, base: Base, listen: Listener
) -> dict[str, Adapter | None]:
    """For each arm `lora:R` the newest adapter that was asked for with that rank, by arm.

    It may be one of several that were compared and not chosen: by its rank it is named. None where
    there is none yet.
    """
    found: dict[str, Adapter | None] = {arm: None for arm in arms if rank_of(arm) is not None}
    if not found:
        return {}
    for info in finished(store, ["adapt"], domain=domain, base_digest=base.digest):
        for arm, adapter in found.items():
            if adapter is None and _has_rank(info, rank_of(arm)):
                folder, _ = resolve(store, info.uri, "adapter")
                found[arm] = load_adapter(folder, base)
                listen.say(f"{arm}: {info.uri}, the newest of {domain} of that rank on this base.")
        if None not in found.values():
            break
    return found


def _has_rank(info: RunInfo, rank: int | None) -> bool:
    """Whether a rank was asked for, for all targets; a few rows may have had their own values."""
    if info.rank is not None:
        return info.rank == rank
    asked, targets = (info.params.get(f"adapt.{name}", "") for name in ("rank", "targets"))
    return info.tag("rank") == MIXED and asked == str(rank) and ":" not in targets


def rank_arm(
    rank: int,
    settings: Settings,
    domain: str,
    store: Store,
    chosen: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    listen: Listener,
) -> Adapter:
    """A new adapter of a rank, recorded as one that was compared and not chosen."""
    listen.say(f"lora:{rank}: none of that rank yet; training it.")
    own = settings.with_options({"adapt.rank": rank})
    config = shape(own, chosen.base)
    trained = train_adapter(
        own, config, domain, store, chosen, frame, source, listen, compared=True
    )
    return trained.adapter
