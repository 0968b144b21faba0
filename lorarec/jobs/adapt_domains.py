"""Adapt a base to many domains in one pass: logs read once, one frozen base, a run for each domain.

Each domain is a training of its own, with its own grid of step sizes, generator, step count and
early stop, and an adapter with the digest that `adapt` would give the domain alone: what is shared
is only what no training changes. They follow each other, or an engine does some side by side; what
is finished when the pass is broken off stands. Memory holds the base, the logs, and the touched
rows of the domains at hand.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.small_domains import small_domains
from lorarec.data.source import DataSource
from lorarec.errors import (
    DataError,
    LorarecError,
    NotFoundError,
    StoreError,
    TrainingError,
    WorkerLostError,
    did_you_mean,
)
from lorarec.fanout.job import Done, Engine, Job, map_domains
from lorarec.fanout.serial import SerialEngine
from lorarec.jobs.adapt import recipe, shape, train_adapter
from lorarec.jobs.adapt_apart import Learnt, Parts, gathered
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.domain_outcome import DomainOutcome, outcome_of
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.lora.config import AdapterConfig
from lorarec.tracking.runs import Run, standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device
from lorarec.training.loop import Progress

SERIAL = SerialEngine()
TABLE = "domains.json"
"""The artifact of the pass: what became of every domain so far."""


@dataclass
class AdaptedDomains:
    """What a pass over many domains leaves behind."""

    run: str
    """`runs:/<id>`, with the domains' runs under it."""
    base_digest: str
    done: list[DomainOutcome] = field(default_factory=list)
    """In the order they were trained, which is that of the names."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Domain → why it was not trained."""
    failed: dict[str, str] = field(default_factory=dict)
    """Domain → the error that ended its training."""
    seconds: float = 0.0
    """Of the whole pass."""

    def record(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return asdict(self)


def adapt_domains(
    settings: Settings,
    domains: str | None,
    store: Store,
    base: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
    engine: Engine = SERIAL,
) -> AdaptedDomains:
    """Train the adapter that `settings.adapt` describes for many domains on one base.

    Each is an `adapt` run under the run of the pass. A domain that has no train row is passed over,
    and so is one that nobody named with fewer than `[data] min_domain_rows`. One that diverges,
    cannot be trained, or kills every worker that takes it is told, and the others go on.

    Args:
        settings: As `adapt` takes them.
        domains: Names with commas between them, as many as are meant; None is all of the logs.
        store: Where the base is and the runs go.
        base: URI of a base; None is the newest.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.
        engine: Where domains are trained. Any gives the same adapters, with as many threads; this
            process reads the logs and writes all runs.

    Raises:
        NotFoundError: There is no such base or domain.
        ConfigError: The rank or the targets do not fit the base.
        DataError: The logs have changed, or no domain is left to train.
        TrainingError: None of the domains could be trained; it is the first one's error.
        WorkerLostError: Nor did a worker outlive any; or none lived to take one.
    """
    started = time.perf_counter()
    chosen = choose_base(store, base, listen)
    config = shape(settings, chosen.base)  # before any logs are read
    info = chosen.base.info
    frame, source = info.data.read_again(info.split, paths)
    rows = _train_rows(frame)
    wanted = named_domains(domains, rows)
    least = settings.data.min_domain_rows if domains is None else 1
    passed_over = _passed_over(wanted, rows, least)
    for name, why in passed_over.items():
        listen.say(f"Warning: {name} is passed over: {why}.")
    left = [name for name in wanted if name not in passed_over]
    if not left:
        raise DataError(
            f"No domain is left to adapt to: each of the {len(wanted)} is passed over, such as "
            f"{wanted[0]!r}, which has {rows[wanted[0]]:,} train rows. Expected one with at least "
            f"{max(least, 1):,}; name it with --domain, lower [data] min_domain_rows, or choose "
            f"another split, such as lorarec pretrain --split random"
        )
    errors: dict[str, LorarecError] = {}
    with _recorded(settings, config, store, chosen, source, left) as run:
        run.log_inputs(read_logs(source))
        found = AdaptedDomains(run.uri, chosen.base.digest)
        found.passed_over |= passed_over
        parts = Parts(settings, config, chosen, source, run.id, frame)
        way = (
            _one_by_one(parts, store, left, rows, listen)
            if isinstance(engine, SerialEngine)
            else _side_by_side(parts, store, left, rows, listen, engine)
        )
        with (
            _told_at_the_end(found, len(left), run, started, listen),
            map_domains(way.job, way.order, engine) as each,
        ):
            for done in each:
                name = done.domain
                try:
                    found.done.append(way.outcome(done))
                    found.done.sort(key=lambda outcome: outcome.domain)
                except (TrainingError, DataError, WorkerLostError) as error:
                    listen.say(f"Warning: {name} was not adapted to: {error}")
                    found.failed[name] = str(error)
                    errors[name] = error
                run.log_json(TABLE, found.record())
            if errors and not found.done:
                raise errors[min(errors)]
    return found


@dataclass(frozen=True)
class _Way:
    """How the domains of a pass are gone through."""

    job: Job[Any, Any, Any]
    order: Sequence[str]
    outcome: Callable[[Done[Any]], DomainOutcome]
    """Of a domain that is done, with its runs in the store; raises what ended it."""


def _one_by_one(
    parts: Parts, store: Store, names: Sequence[str], rows: dict[str, int], listen: Listener
) -> _Way:
    """In this process, each run in the store from its beginning."""

    def one(name: str, _: None) -> DomainOutcome:
        listen.say(f"{name}: {names.index(name) + 1} of {len(names)} domains.")
        adapted = train_adapter(
            parts.settings,
            parts.config,
            name,
            store,
            parts.chosen,
            parts.frame,
            parts.source,
            listen,
            parts.run,
        )
        return outcome_of(name, adapted, rows[name])

    return _Way(Job(lambda _: one, None, lambda _: None), names, Done.result)


def _side_by_side(
    parts: Parts,
    store: Store,
    names: Sequence[str],
    rows: dict[str, int],
    listen: Listener,
    engine: Engine,
) -> _Way:
    """In workers; what is large is begun first, so that the last one to end is small."""
    started, count = time.perf_counter(), itertools.count(1)
    trained = 0

    def outcome(done: Done[Learnt]) -> DomainOutcome:
        nonlocal trained
        trained += rows[done.domain]
        speed = trained / (time.perf_counter() - started)
        listen.step(Progress(next(count), rows[done.domain], math.nan, speed))
        return gathered(done.result(), store, listen)

    listen.begin(f"adapt {len(names)} domains", sum(rows[name] for name in names))
    order = sorted(names, key=lambda name: (-rows[name], name))
    return _Way(parts.job(engine.here), order, outcome)


def named_domains(asked: str | None, known: Iterable[str]) -> list[str]:
    """The domains that are meant, each once and sorted.

    Args:
        asked: Names with commas between them; None is all. A domain that has a comma in its name
            is meant where nothing else stands beside it.
        known: Those of the logs.

    Raises:
        NotFoundError: The logs do not have one; the nearest names are told.
    """
    known = set(known)
    if asked is None:
        return sorted(known)
    if asked in known:
        return [asked]
    names = sorted({name.strip() for name in asked.split(",")} - {""})
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        first = unknown[0] if unknown else asked
        raise NotFoundError(
            f"There is no domain {first!r} in the logs.{did_you_mean(first, known)} Expected names "
            f"with commas between them, or --all-domains."
        )
    return names


def _train_rows(frame: pl.DataFrame) -> dict[str, int]:
    """Train rows of every domain of the logs, 0 where there is none."""
    counted = frame.group_by("domain").agg((pl.col("split") == "train").sum())
    return {str(name): int(count) for name, count in counted.rows()}


def _passed_over(wanted: Sequence[str], rows: dict[str, int], least: int) -> dict[str, str]:
    """Domains with fewer train rows than the threshold, or with none, and why; by name."""
    small = small_domains({name: rows[name] for name in wanted}, max(least, 1))
    return {
        name: f"it has {count:,} train rows, and [data] min_domain_rows is {least:,}"
        if count
        else "it has no train row"
        for name, count in sorted(small.items())
    }


def _recorded(
    settings: Settings,
    config: AdapterConfig,
    store: Store,
    chosen: Chosen,
    source: DataSource,
    domains: Sequence[str],
) -> AbstractContextManager[Run]:
    """The run of the pass."""
    tags = standard_tags(
        **chosen.tags,
        data_digest=source.digest,
        device=resolve_device(settings.train.device),
        recipe=recipe(settings, config),
    )
    params = {**settings.flat(), "domains": ",".join(domains)}
    return store.run(
        f"adapt-{len(domains)}-domains",
        "adapt-all",
        params=params,
        tags=tags,
        config=settings.model_dump(),
    )


@contextmanager
def _told_at_the_end(
    found: AdaptedDomains, domains: int, run: Run, started: float, listen: Listener
) -> Iterator[None]:
    """Record the table and the means however the pass ends; say what stands where it broke off."""
    try:
        yield
    except BaseException:
        listen.say(f"{len(found.done)} of {domains} domains are adapted to and recorded.")
        raise
    finally:
        found.seconds = time.perf_counter() - started
        ranks = {outcome.rank for outcome in found.done}
        rank = ranks.pop() if len(ranks) == 1 else "mixed" if ranks else None
        with suppress(StoreError):  # they keep waiting, and the run's end tells
            run.log_metrics(_totals(found))
            run.set_tags(standard_tags(rank=rank))


def _totals(found: AdaptedDomains) -> dict[str, float]:
    """Metrics of the pass: sums over domains, and means over those that have validation rows."""
    done = found.done
    sums = {
        name: float(sum(getattr(outcome, name) for outcome in done))
        for name in ("train_rows", "parameters", "parameters_factors", "parameters_grown",
                     "parameters_full", "bytes_on_disk")
    }  # fmt: skip
    sums |= {"domains": len(done), "domains_passed_over": len(found.passed_over)}
    sums |= {"domains_failed": len(found.failed), "train_seconds": found.seconds}
    for metric in ("valid_recall_at_20", "valid_ndcg"):
        own = [o for o in done if metric in o.metrics and metric in o.untrained]
        if own:
            sums[metric] = float(np.mean([o.metrics[metric] for o in own]))
            sums[f"untrained/{metric}"] = float(np.mean([o.untrained[metric] for o in own]))
    return sums
