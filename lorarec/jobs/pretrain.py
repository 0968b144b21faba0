"""Pretrain one base over all domains but the excluded ones, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.jobs.base_training import train_base
from lorarec.jobs.checkpointing import Checkpointing, deciding
from lorarec.jobs.describing import described, log_history
from lorarec.jobs.implicit_base import train_implicit
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.reading import SplitLogs, read_split_logs, trained_ids
from lorarec.jobs.sides import Sides, read_sides
from lorarec.models.artefact import Base, DomainBiases, save_base
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TwoTower
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.device import set_threads
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.loop import History

IMPLICIT = ("als", "bpr")
"""Models that the library implicit trains."""


@dataclass(frozen=True)
class Pretrained:
    """What `pretrain` leaves behind."""

    base: Base
    run: str
    """`runs:/<id>`."""
    history: History


def pretrain(
    settings: Settings,
    paths: Sequence[Path],
    store: Store,
    exclude: Sequence[str] = (),
    listen: Listener = SILENT,
    checkpointing: Checkpointing | None = None,
    ranks: Ranks = ALONE,
) -> Pretrained:
    """Train a base on the logs and record it as one MLflow run with the base as its artefact.

    The split is made over all domains first, so that a domain kept out of the base has the same
    cut-off times when it is adapted later.

    Args:
        settings: Its sections `data`, `model`, `features` and `train`.
        paths: Files or folders of logs.
        store: Where the run goes.
        exclude: Domains kept out of training, validation and vocabularies.
        listen: Takes words and progress.
        checkpointing: Where to save on the way and to go on from; what is there is removed once
            the base is recorded.
        ranks: The processes that train it together, of which this is the first; the others call
            `pretrain_beside`.

    Raises:
        ConfigError: A checkpoint of other settings; tables in shards without torchrun; features, a
            loss or a checkpoint for a model that takes none; several ranks with different logs or
            settings, or for a model that implicit trains.
        RankError: Another rank failed.
        StoreError: A checkpoint that nobody asked to go on from.
        DataError: The logs break the column contract, or a table of features is not one.
        NotFoundError: An excluded domain is not in the logs.
        TrainingError: A domain has nothing to train on.
        DivergedError: The loss is not finite.
    """
    begun = _begin(settings, paths, exclude, listen, checkpointing, ranks)
    logs, device, checkpoints = begun.logs, begun.device, begun.checkpoints
    split, source = logs.split, logs.source
    tags = standard_tags(
        data_digest=source.digest,
        split=split.used,
        cutoff=split.t_test,
        device=device,
        ranks=ranks.size if ranks.together else None,
    )
    name = f"pretrain-{settings.model.name}-d{settings.model.dim}"
    with store.run(
        name, "pretrain", params=settings.flat(), tags=tags, config=settings.model_dump()
    ) as run:
        run.log_inputs(read_logs(source))
        users, items = trained_ids(logs.frame)
        sides = begun.tables.fitted(settings, users, items, listen)
        model: MatrixFactorization | TwoTower
        if settings.model.name in IMPLICIT:
            model, history = train_implicit(settings, logs, users, items, device, listen)
            domain_bias: dict[str, DomainBiases] = {}
        else:
            model, domain_bias, history = train_base(
                settings, logs.frame, users, items, device, listen, sides, checkpoints, ranks
            )
        if history.best_epoch == 0:
            listen.say(
                f"No epoch of {len(history.epochs) - 1} validated better than the start: the base "
                f"is its initial vectors, untrained. Look at [train] learning_rate, now "
                f"{settings.train.learning_rate:g}, and epochs before you adapt it."
            )
        log_history(run, history)
        metrics = history.epochs[history.best_epoch]
        info = described(settings, model, users, items, logs, metrics)
        info = info.model_copy(update={"features": sides.info()})
        base = Base(model, users, items, info, domain_bias, sides.features)
        with run.artifact_folder("base") as folder:
            save_base(base, folder)
        run.log_json("split.json", split.model_dump())
        run.log_metrics(logs.left_out())
        run.set_tags(standard_tags(base_digest=base.digest))
        if checkpoints is not None:
            checkpoints.remove()
    return Pretrained(base, run.uri, history)


def pretrain_beside(
    settings: Settings,
    paths: Sequence[Path],
    exclude: Sequence[str] = (),
    checkpointing: Checkpointing | None = None,
    *,
    ranks: Ranks,
) -> None:
    """Train a base together with the first rank, which calls `pretrain`; it tells and records.

    Args and errors are those of `pretrain`.
    """
    begun = _begin(settings, paths, exclude, SILENT, checkpointing, ranks)
    users, items = trained_ids(begun.logs.frame)
    sides = begun.tables.fitted(settings, users, items, SILENT)
    train_base(
        settings,
        begun.logs.frame,
        users,
        items,
        begun.device,
        SILENT,
        sides,
        begun.checkpoints,
        ranks,
    )


@dataclass(frozen=True)
class _Begun:
    """All that is read and checked before a base is trained."""

    tables: Sides
    logs: SplitLogs
    device: str
    checkpoints: Checkpoints | None


def _begin(
    settings: Settings,
    paths: Sequence[Path],
    exclude: Sequence[str],
    listen: Listener,
    checkpointing: Checkpointing | None,
    ranks: Ranks,
) -> _Begun:
    if settings.model.name in IMPLICIT:
        _check_implicit(settings, checkpointing, ranks)
    if settings.train.shard_tables:
        _check_sharded(settings, ranks)
    set_threads(settings.train.threads)
    device = ranks.device(settings.train.device)
    tables = read_sides(settings)
    logs = read_split_logs(settings, paths, exclude, listen)
    decides = deciding(settings, logs.source, logs.split, exclude, tables)
    checkpoints = None
    if checkpointing is not None:
        checkpoints = checkpointing.checkpoints(decides, writes=ranks.first)
        checkpoints.open()
    step = "not asked for" if checkpoints is None else checkpoints.there
    sharded = settings.train.shard_tables
    ranks.agree({**decides, "train.shard_tables": sharded, "checkpoint's step": step})
    return _Begun(tables, logs, device, checkpoints)


def _check_sharded(settings: Settings, ranks: Ranks) -> None:
    """Refuse tables in shards where nobody shares them, before anything is read."""
    model = settings.model
    if not ranks.together:
        raise ConfigError(
            "Setting train.shard_tables is true and this is one process by itself. Expected those "
            "of torchrun, which hold the tables between them: torchrun --nproc-per-node 2 -m "
            "lorarec pretrain --shard-tables ...; or leave it out."
        )
    if model.name in IMPLICIT:
        raise ConfigError(
            f"Setting train.shard_tables is true and --model {model.name} is trained by implicit "
            f"in one piece. Expected mf or two-tower; leave --shard-tables out."
        )
    if model.name == "two-tower" and model.history_table == "separate":
        raise ConfigError(
            "Setting train.shard_tables is true and model.history_table is 'separate', a table "
            "that every process would hold whole. Expected the history to read the items' own "
            "vectors; set model.history_table=shared, or leave --shard-tables out."
        )


def _check_implicit(settings: Settings, checkpointing: Checkpointing | None, ranks: Ranks) -> None:
    """Refuse what a model of implicit has no use for, before anything is read."""
    model, train = settings.model.name, settings.train
    if checkpointing is not None:
        raise ConfigError(
            f"--checkpoint was given for --model {model}, which implicit trains in one piece. "
            f"Expected another model; leave --checkpoint out."
        )
    if ranks.size > 1:
        raise ConfigError(
            f"--model {model} was started as {ranks.size} ranks, and implicit trains it in one "
            f"process. Expected mf or two-tower under torchrun; start it without."
        )
    if train.loss == "ccl" or train.learn_temperature:
        given = "train.loss is 'ccl'" if train.loss == "ccl" else "train.learn_temperature is true"
        raise ConfigError(
            f"Setting {given} and --model {model} compares by inner products, so neither it nor "
            f"its adapters have a cosine. Expected train.loss softmax or bpr, which its adapters "
            f"are trained by, and train.learn_temperature=false; or another model."
        )
