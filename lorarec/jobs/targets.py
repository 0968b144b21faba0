"""What a base offers to an adapter: its targets, and what each costs at a rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorarec.errors import ConfigError
from lorarec.jobs.choose import choose_base
from lorarec.jobs.domain import domain_data, touched_counts
from lorarec.jobs.listener import SILENT, Listener
from lorarec.lora.attach import linear_layers
from lorarec.lora.config import RANKED
from lorarec.lora.size import factor_counts, numbers_of
from lorarec.models.artefact import Base
from lorarec.tracking.store import Store


@dataclass(frozen=True)
class Offer:
    """One target of a base."""

    name: str
    """As `--targets` takes it."""
    what: str
    """What an adapter adds there, in words."""
    shape: tuple[int, int]
    """Of what it moves: (rows, d) of a table, (out, in) of a layer, (items, 1) of the bias."""
    largest: int | None
    """The largest rank; None where there is no rank."""
    rank: int | None
    """That the count is of: the one asked for, or the largest where that is smaller."""
    numbers: int
    """What an adapter trains there at that rank."""
    full: int
    """What full fine-tuning trains in its place."""


@dataclass(frozen=True)
class Offered:
    """All targets of a base, and of how many rows they were counted."""

    base: Base
    run: str | None
    offers: tuple[Offer, ...]
    domain: str | None
    """Whose rows; None where every row of the base was counted."""


def targets(
    store: Store,
    rank: int,
    base: str | None = None,
    domain: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> Offered:
    """List what an adapter of a base can have.

    Args:
        store: Where the base is.
        rank: Of the counts.
        base: URI of a base; None is the newest.
        domain: Whose users and items are counted; None counts every row of the base. Grown rows
            are not counted: they cost the same with any target.
        paths: Other logs than the base's, by choice.
        listen: Takes words.

    Raises:
        ConfigError: The rank is below 1.
        NotFoundError: There is no such base or domain.
    """
    if rank < 1:
        raise ConfigError(f"Rank {rank} is out of range. Expected 1 or more, such as --rank 8.")
    chosen = choose_base(store, base, listen)
    rows = {"users": len(chosen.base.users), "items": len(chosen.base.items)}
    biased = rows["items"]
    if domain is not None:
        info = chosen.base.info
        frame, _ = info.data.read_again(info.split, paths, domain=domain)
        data = domain_data(chosen.base, frame, domain)
        rows = touched_counts(chosen.base, data)
        biased = len(np.unique(data.train.item))
    return Offered(chosen.base, chosen.run, _offers(chosen.base, rank, rows, biased), domain)


def _offers(base: Base, rank: int, rows: dict[str, int], biased: int) -> tuple[Offer, ...]:
    dim = base.model.dim
    own = min(rank, dim)
    found = []
    for name, count in rows.items():
        factors, values = factor_counts(count, dim, own)
        found.append(Offer(name, "rows + s · A B", (count, dim), dim, own, factors, values))
    layers = linear_layers(base.model)
    last = layers.pop(RANKED[-1], None)
    found.append(
        Offer(
            RANKED[-1],
            "every item · (I + s · P Q)" if last is None else "W + s · (P Q)ᵀ",
            (dim, dim),
            dim,
            own,
            2 * dim * own,
            0 if last is None else numbers_of(last),
        )
    )
    for name, layer in layers.items():
        shape = (layer.out_features, layer.in_features)
        at = min(rank, *shape)
        found.append(
            Offer(name, "W + s · B A", shape, min(shape), at, at * sum(shape), numbers_of(layer))
        )
    found.append(Offer("bias", "bias + β", (biased, 1), None, None, biased, biased))
    return tuple(found)
