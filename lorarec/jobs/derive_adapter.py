"""Adapters computed from others: summed, truncated or quantised; measured, recorded as a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_of, find_adapter, load_all
from lorarec.jobs.record_made import record_made
from lorarec.jobs.validated import Validated, validated
from lorarec.lora.adapter import Adapter
from lorarec.lora.derived import quantized, summed, truncated_to
from lorarec.lora.size import oversized
from lorarec.lora.state import TABLES
from lorarec.models.artefact import Base
from lorarec.tracking.store import Store

MADE = "made"
"""The arm of what was made, beside those of its parents by their names."""
Make = Callable[[Base, list[Adapter]], Adapter]


@dataclass(frozen=True)
class Asked:
    """What all the ways to make an adapter of others are asked."""

    base: str | None = None
    """URI of the base; None is that of the first adapter."""
    paths: Sequence[Path] = ()
    """Other logs than the base's to measure on, by choice."""
    max_loss: float | None = None
    """Recall at 20 that may be lost on validation; None lets anything pass."""


@dataclass(frozen=True)
class Derived:
    """What was made, and of what."""

    adapter: Adapter
    parents: list[Named]
    reference: str
    """Name of the parent that it is compared with: the first of its domain, or the first."""
    measured: Validated | None
    """With the arm `made` and one for each parent; None where nothing could be measured."""
    refused: bool
    """Whether more recall was lost than was allowed: nothing was kept then."""
    run: str | None
    """`runs:/<id>`; None where it was refused."""
    stored: int
    """Bytes on disk; 0 where it was refused."""


def sum_adapters(
    settings: Settings,
    store: Store,
    texts: Sequence[str],
    weights: Sequence[float],
    rank: int | None,
    domain: str | None,
    asked: Asked,
    listen: Listener = SILENT,
) -> Derived:
    """The weighted sum of adapters of one base.

    Args:
        settings: Its section `evaluate` says how it is measured.
        store: Where adapters are and the run goes.
        texts: Which adapters; see `find_adapter`.
        weights: One for each.
        rank: What the sum is truncated to; None truncates nothing.
        domain: The sum's; None is the first adapter's.
        asked: Base, logs and the loss that is allowed.
        listen: Takes words.

    Raises:
        NotFoundError: There is no such adapter, or its base is not in the store.
        AdapterMismatchError: They are of different bases.
        ConfigError: The weights or the rank cannot be, or a gate has nothing to measure on.
    """
    params: dict[str, object] = {"weights": list(weights), "truncated_to": rank}
    if len(weights) != len(texts):
        raise ConfigError(
            f"There are {len(texts)} adapters and {len(weights)} weights. Expected a weight for "
            f"each: lorarec adapters sum {' '.join(texts)} --weights "
            f"{','.join(['.5'] * max(len(texts), 2))}"
        )
    return _derive(
        settings,
        store,
        "sum",
        texts,
        lambda base, adapters: summed(base, adapters, weights, rank, domain),
        params,
        asked,
        listen,
    )


def truncate_adapter(
    settings: Settings, store: Store, text: str, rank: int, asked: Asked, listen: Listener = SILENT
) -> Derived:
    """The nearest adapter of a rank; as `sum_adapters`."""
    return _derive(
        settings,
        store,
        "truncate",
        [text],
        lambda base, adapters: truncated_to(base, adapters[0], rank),
        {"truncated_to": rank},
        asked,
        listen,
    )


def quantize_adapter(
    settings: Settings,
    store: Store,
    text: str,
    storage: Literal["fp16", "int8"],
    asked: Asked,
    listen: Listener = SILENT,
) -> Derived:
    """The adapter in fewer bytes; as `sum_adapters`.

    Raises:
        ConfigError: It is quantised already: it would lose twice.
    """

    def make(base: Base, adapters: list[Adapter]) -> Adapter:
        info = adapters[0].info
        if info.storage != "fp32":
            parent = f" {info.made_of.parents[0]}" if info.made_of else ""
            raise ConfigError(
                f"{text} is in {info.storage} already, and what was lost then does not come back. "
                f"Expected an adapter in fp32: quantise what it was made of, the one with the "
                f"digest{parent}; lorarec adapters list --json shows it."
            )
        return quantized(base, adapters[0], storage)

    return _derive(settings, store, "quantize", [text], make, {}, asked, listen)


def _derive(
    settings: Settings,
    store: Store,
    kind: str,
    texts: Sequence[str],
    make: Make,
    params: dict[str, object],
    asked: Asked,
    listen: Listener,
) -> Derived:
    parents = [find_adapter(store, text, asked.base, listen) for text in texts]
    chosen = base_of(store, parents[0], asked.base, listen)
    adapters = load_all(parents, chosen)
    chosen = chosen.beside(*(adapter.info for adapter in adapters))
    made = make(chosen.base, adapters)
    domain = made.info.domain
    reference = next((each for each in parents if each.info.domain == domain), parents[0]).name
    arms = {each.name: adapter for each, adapter in zip(parents, adapters, strict=True)}
    arms = {reference: arms[reference], **arms, MADE: made}
    own = {name: len(getattr(made.model, name).rows) for name in TABLES}
    for warning in oversized(made.info.config, chosen.base.model, own):
        listen.say(f"Warning: {warning}")
    must = domain not in {each.info.domain for each in parents}
    measured = validated(settings, domain, chosen, arms, asked.paths, listen, must)
    if measured is None and asked.max_loss is not None:
        raise ConfigError(
            f"--max-loss {asked.max_loss:g} has no validation rows of {domain!r} to be held "
            f"against. Expected the base's logs, or others: --data PATH; or leave --max-loss out."
        )
    if measured is not None:
        metrics = measured.metrics(MADE)
        metrics = {f"evaluated_{name}": value for name, value in metrics.items()}
        made = replace(made, info=made.info.model_copy(update={"metrics": metrics}))
        if asked.max_loss is not None and measured.loss(MADE) > asked.max_loss:
            return Derived(made, parents, reference, measured, True, None, 0)
    names = [each.name for each in parents]
    params = {"parents": names, **params}
    before = None
    if measured is not None:
        before = {f"parent_{k}": value for k, value in measured.metrics(reference).items()}
    run, stored = record_made(settings, store, kind, made, chosen, params, names, before)
    return Derived(made, parents, reference, measured, False, run, stored)
