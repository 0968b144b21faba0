"""Pretrain one base over all domains but the excluded ones, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.jobs.base_training import train_base
from lorarec.jobs.checkpointing import Checkpointing
from lorarec.jobs.describing import described, log_history
from lorarec.jobs.implicit_base import train_implicit
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.reading import read_split_logs, trained_ids
from lorarec.jobs.sides import read_sides
from lorarec.models.artefact import Base, DomainBiases, save_base
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TwoTower
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
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

    Raises:
        ConfigError: A checkpoint of other settings; features for a model that takes none.
        StoreError: A checkpoint that nobody asked to go on from.
        DataError: The logs break the column contract, or a table of features is not one.
        NotFoundError: An excluded domain is not in the logs.
        TrainingError: A domain has nothing to train on.
        DivergedError: The loss is not finite.
    """
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    if checkpointing is not None and settings.model.name in IMPLICIT:
        raise ConfigError(
            f"--checkpoint was given for --model {settings.model.name}, which implicit trains in "
            f"one piece. Expected another model; leave --checkpoint out."
        )
    tables = read_sides(settings)
    logs = read_split_logs(settings, paths, exclude, listen)
    split, source = logs.split, logs.source
    checkpoints = None
    if checkpointing is not None:
        checkpoints = checkpointing.checkpoints(settings, source, split, exclude, tables)
        checkpoints.open()
    tags = standard_tags(
        data_digest=source.digest, split=split.used, cutoff=split.t_test, device=device
    )
    name = f"pretrain-{settings.model.name}-d{settings.model.dim}"
    with store.run(
        name, "pretrain", params=settings.flat(), tags=tags, config=settings.model_dump()
    ) as run:
        users, items = trained_ids(logs.frame)
        sides = tables.fitted(settings, users, items, listen)
        model: MatrixFactorization | TwoTower
        if settings.model.name in IMPLICIT:
            model, history = train_implicit(settings, logs, users, items, device, listen)
            domain_bias: dict[str, DomainBiases] = {}
        else:
            model, domain_bias, history = train_base(
                settings, logs.frame, users, items, device, listen, sides, checkpoints
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
