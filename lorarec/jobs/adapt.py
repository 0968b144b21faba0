"""Adapt a base to one domain with a LoRA adapter, or fully fine-tune its rows for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.config.ranks import AUTO, SINGLE
from lorarec.data.small_domains import small_domains, too_small
from lorarec.data.source import DataSource
from lorarec.errors import ConfigError
from lorarec.jobs.auto_rank import AutoRank, Decision, free_targets, record_curve
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.domain import DomainData, domain_data, touched_counts
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.options import SHARED
from lorarec.jobs.search import Trained, search
from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest, grown_ids, save_adapter
from lorarec.lora.attach import linear_layers
from lorarec.lora.config import AdapterConfig, full_config, lora_config, recorded_rank
from lorarec.lora.size import AdapterSize, oversized, without_excess
from lorarec.lora.state import AdapterState
from lorarec.lora.towers import largest_ranks
from lorarec.models.artefact import Base, library_versions
from lorarec.storage import bytes_of, sha256_bytes
from lorarec.tracking.held_runs import RunLog, Runs
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.loop import History


@dataclass(frozen=True)
class Adapted:
    """What `adapt` leaves behind."""

    adapter: Adapter
    run: str
    """`runs:/<id>`."""
    history: History
    untrained: dict[str, float]
    """Validation metrics of the frozen base in the same place."""
    size: AdapterSize
    warnings: list[str]
    seconds: float
    """Of the whole search over step sizes."""
    stored: int
    """Bytes on disk."""
    decision: Decision | None = None
    """How its ranks were chosen, with `--rank auto`."""


def adapt(
    settings: Settings,
    domain: str,
    store: Store,
    base: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> Adapted:
    """Train the adapter that `settings.adapt` describes and record it as one MLflow run.

    Args:
        settings: Its sections `adapt` and `train` (seed, device, threads).
        domain: To adapt to; the base need not have seen it.
        store: Where the base is and the run goes.
        base: URI of a base; None is the newest.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such base or domain.
        ConfigError: The rank or the targets do not fit the base.
        DataError: The logs have changed, the domain has no train row, or with `--rank auto`
            nothing to validate on.
    """
    chosen = choose_base(store, base, listen)
    # Before any logs are read: a rank that cannot be is told at once.
    config = shape(settings, chosen.base)
    info = chosen.base.info
    frame, source = info.data.read_again(info.split, paths, domain=domain)
    return train_adapter(settings, config, domain, store, chosen, frame, source, listen)


def shape(settings: Settings, base: Base) -> AdapterConfig:
    """The adapter that `settings.adapt` describes on a base.

    With `rank` auto its free targets have rank 1, until the rows that they touch are known.

    Raises:
        ConfigError: The rank or the targets do not fit it, several ranks are asked for, or with
            auto no target's rank is left to choose.
    """
    rank = settings.adapt.rank
    if isinstance(rank, tuple):
        raise ConfigError(
            f"Setting adapt.rank is {','.join(map(str, rank))}, which is a sweep: one adapter for "
            f"each rank. Expected one rank here, or auto: --rank {SINGLE}"
        )
    if rank == AUTO:
        free_targets(base.model, settings.adapt.targets)
    return lora_config(
        1 if rank == AUTO else rank,
        base.model.dim,
        settings.adapt.targets,
        settings.adapt.alpha,
        settings.train.seed,
        largest_ranks(base.model),
    )


def fine_tune(
    settings: Settings,
    domain: str,
    store: Store,
    chosen: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    listen: Listener = SILENT,
) -> Adapted:
    """Full fine-tuning of the rows an adapter would touch: same data, seed, bias and search."""
    config = full_shape(settings, chosen.base)
    return train_adapter(settings, config, domain, store, chosen, frame, source, listen)


def full_shape(settings: Settings, base: Base) -> AdapterConfig:
    """Full fine-tuning of a domain: its rows, and every linear layer of a base that has some."""
    return full_config(settings.train.seed, tuple(linear_layers(base.model)))


def train_adapter(
    settings: Settings,
    config: AdapterConfig,
    domain: str,
    store: Runs,
    chosen: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    listen: Listener,
    parent: str | None = None,
    compared: bool = False,
) -> Adapted:
    """Train one adapter on split logs inside a run of its own, under the run `parent` if any.

    Where `compared`, it is one of several of which one will be chosen: until then none is.
    """
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    data = domain_data(chosen.base, frame, domain)
    touched = touched_counts(chosen.base, data)
    auto: AutoRank | None = None
    if config.kind == "lora" and settings.adapt.rank == AUTO:
        auto = AutoRank(free_targets(chosen.base.model, settings.adapt.targets))
        config = auto.widest(config, chosen.base, data, touched)
    warnings = [
        f"{sentence} So it has values of its own in place of factors."
        for sentence in oversized(config, chosen.base.model, touched)
    ]
    config = without_excess(config, chosen.base.model, touched)
    least = settings.data.min_domain_rows
    small = too_small(small_domains({domain: len(data.train)}, least), least, "train rows")
    warnings += [small] if small is not None else []
    for warning in warnings:
        listen.say(f"Warning: {warning}")
    rank = AUTO if auto else recorded_rank(config)
    kind = "adapt" if config.kind == "lora" else "full"
    tags = standard_tags(
        domain=domain,
        rank=rank,
        **chosen.tags,
        data_digest=source.digest,
        device=device,
        recipe=recipe(settings, config),
        chosen="no" if compared else None,
    )
    shown = f"r{rank}" if isinstance(rank, int) else rank
    name = "-".join(part for part in (kind, domain, shown) if part)
    params = {**settings.flat(), "domain": domain}
    recorded = store.run(
        name, kind, params=params, tags=tags, config=settings.model_dump(), parent=parent
    )
    with recorded as run:
        run.log_inputs(read_logs(source))
        trained = search(settings, config, chosen.base, data, device, listen, run)
        adapter = _finished(trained, config, chosen.base, data, source)
        decision: Decision | None = None
        if auto is not None:
            wide = AdapterState.of(adapter)
            trained, config, decision = auto.choose(
                trained, wide, chosen.base, data, device, listen
            )
            adapter = _finished(trained, config, chosen.base, data, source)
            run.set_tags(standard_tags(rank=recorded_rank(config)))
            record_curve(
                run,
                decision.curve,
                decision.record(),
                f"{domain}: one adapter, truncated to each rank",
                f"trained {wide.config.describe()}; kept {config.describe()}",
            )
        run.log_params({"targets": config.describe()})
        with run.artifact_folder("adapter") as folder:
            save_adapter(adapter, folder)
            stored = bytes_of(folder)
        record_training(run, trained, adapter, stored)
        run.log_metrics({"train_rows": len(data.train)})
    return Adapted(
        adapter,
        run.uri,
        trained.history,
        trained.untrained,
        trained.size,
        warnings,
        trained.seconds,
        stored,
        decision,
    )


def recipe(settings: Settings, config: AdapterConfig) -> str:
    """A digest of all that decides how an adapter is trained, to find one made the same way."""
    shown = settings.adapt.model_dump(exclude={"rank", "targets", "alpha"})
    if config.kind == "lora" and settings.adapt.rank == AUTO:
        shown["rank"] = AUTO  # the shape is that of what is truncated
    shown |= settings.train.model_dump(include=set(SHARED))
    unsaid = {name for name in ("whole", "alphas") if not getattr(config, name)}
    shape = config.model_dump_json(exclude=unsaid)
    return sha256_bytes(repr(sorted(shown.items())).encode(), shape.encode())[:16]


def _finished(
    trained: Trained, config: AdapterConfig, base: Base, data: DomainData, source: DataSource
) -> Adapter:
    known = (len(base.users), len(base.items))
    grown = (grown_ids(data.users, known[0]), grown_ids(data.items, known[1]))
    info = AdapterInfo(
        domain=data.name,
        config=config,
        dim=base.model.dim,
        digest=adapter_digest(trained.model, grown),
        weights_digest=sha256_bytes(),
        base_digest=base.digest,
        base_users=known[0],
        base_items=known[1],
        user_vocabulary=base.users.digest(),  # of all rows, appended ones too
        item_vocabulary=base.items.digest(),
        data_digest=source.digest,
        split=base.info.split,
        learning_rate=trained.learning_rate,
        metrics=trained.metrics,
        trained_on=[]
        if source.digest == base.info.data.digest
        else [source.model_copy(update={"split": None})],
        parameters={
            "factors": trained.size.factors,
            "grown": trained.size.grown,
            "full": trained.size.full,
        },
        versions=library_versions(),
    )
    return Adapter(trained.model, data.users, data.items, info)


def record_training(run: RunLog, trained: Trained, adapter: Adapter, stored: int) -> None:
    """The kept trial's curve under its own name, the size beside full fine-tuning, the digest."""
    for epoch, metrics in enumerate(trained.history.epochs):
        run.log_metrics(metrics, step=epoch)
    run.log_metrics(adapter.info.metrics, step=len(trained.history.epochs))
    run.log_metrics(costs(adapter.info.config, trained.size, stored))
    run.log_metrics(
        {
            "learning_rate": trained.learning_rate,
            "best_epoch": trained.history.best_epoch,
            "train_seconds": trained.seconds,
        }
    )
    run.log_params({"rank": recorded_rank(adapter.info.config)})
    run.set_tags(standard_tags(adapter_digest=adapter.info.digest))


def costs(config: AdapterConfig, size: AdapterSize, stored: int) -> dict[str, float]:
    """What an adapter costs, as metrics, and the rank, so that one can be drawn against the other.

    Args:
        config: Its shape; the rank is left out where targets have different ones.
        size: Its numbers beside those of full fine-tuning.
        stored: Bytes on disk.
    """
    rank = recorded_rank(config)
    return {
        **({"rank": rank} if isinstance(rank, int) else {}),
        "parameters": size.parameters,
        "parameters_factors": size.factors,
        "parameters_grown": size.grown,
        "parameters_full": size.full,
        "optimizer_bytes": size.optimizer_bytes,
        "bytes_on_disk": stored,
    }
