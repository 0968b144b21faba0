"""Pretrain one base over all domains but the excluded ones, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError
from lorarec.jobs.checkpointing import Checkpointing
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.options import check_loss, drawn_power, loop_options
from lorarec.jobs.reading import read_split_logs
from lorarec.lora.layers import DomainBias
from lorarec.models.artefact import (
    Base,
    BaseInfo,
    DomainBiases,
    library_versions,
    save_base,
    weights_digest,
)
from lorarec.models.base import BaseModel, ItemBias
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.storage import sha256_bytes
from lorarec.tracking.interrupts import held
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.examples import examples_of
from lorarec.training.loop import History, fit
from lorarec.training.spectral import spectral_tables
from lorarec.training.temperature import LearntTemperature
from lorarec.training.validation import RankingValidation

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
        settings: Its sections `data`, `model` and `train`.
        paths: Files or folders of logs.
        store: Where the run goes.
        exclude: Domains kept out of training, validation and vocabularies.
        listen: Takes words and progress.
        checkpointing: Where to save on the way and to go on from; what is there is removed once
            the base is recorded.

    Raises:
        ConfigError: A checkpoint of other settings.
        StoreError: A checkpoint that nobody asked to go on from.
        DataError: The logs break the column contract.
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
    logs = read_split_logs(settings, paths, exclude, listen)
    kept, split, source = logs.frame, logs.split, logs.source
    checkpoints = None
    if checkpointing is not None:
        checkpoints = checkpointing.checkpoints(settings, source, split, exclude)
        checkpoints.open()
    tags = standard_tags(
        data_digest=source.digest, split=split.used, cutoff=split.t_test, device=device
    )
    name = f"pretrain-{settings.model.name}-d{settings.model.dim}"
    with store.run(
        name, "pretrain", params=settings.flat(), tags=tags, config=settings.model_dump()
    ) as run:
        users, items = trained_ids(kept)
        if settings.model.name in IMPLICIT:
            from lorarec.jobs.implicit_base import train_implicit

            model, history = train_implicit(
                settings, kept, users, items, source, split, device, listen
            )
            domain_bias: dict[str, DomainBiases] = {}
        else:
            model, domain_bias, history = train_base(
                settings, kept, users, items, device, listen, checkpoints
            )
        if history.best_epoch == 0:
            listen.say(
                f"No epoch of {len(history.epochs) - 1} validated better than the start: the base "
                f"is its initial vectors, untrained. Look at [train] learning_rate, now "
                f"{settings.train.learning_rate:g}, and epochs before you adapt it."
            )
        for epoch, metrics in enumerate(history.epochs):
            run.log_metrics(metrics, step=epoch)
        metrics = history.epochs[history.best_epoch]
        info = described(settings, model, users, items, kept, exclude, source, split, metrics)
        base = Base(model, users, items, info, domain_bias)
        with run.artifact_folder("base") as folder:
            save_base(base, folder)
        run.log_metrics({"train_seconds": history.seconds, "best_epoch": history.best_epoch})
        run.log_metrics(info.metrics, step=len(history.epochs))
        run.log_json("split.json", split.model_dump())
        run.log_metrics(logs.left_out())
        run.set_tags(standard_tags(base_digest=base.digest))
        if checkpoints is not None:
            checkpoints.remove()
    return Pretrained(base, run.uri, history)


def trained_ids(frame: pl.DataFrame) -> tuple[Vocabulary, Vocabulary]:
    """Vocabularies of the train rows' ids, in order of appearance: no others are trained."""
    train = frame.filter(pl.col("split") == "train")
    return Vocabulary().extend(train["user_id"]), Vocabulary().extend(train["item_id"])


def train_base(
    settings: Settings,
    frame: pl.DataFrame,
    users: Vocabulary,
    items: Vocabulary,
    device: str,
    listen: Listener = SILENT,
    checkpoints: Checkpoints | None = None,
) -> tuple[MatrixFactorization, dict[str, DomainBiases], History]:
    """Train a matrix factorization on split logs.

    Every domain has an item bias of its own while the base is trained, so that a domain's
    popularity does not bend the vectors that all domains share. The base keeps the biases' mean,
    weighted by how often each domain shows the item. A domain's difference from it is its
    adapter's to learn, and is returned as where to begin: fitted beside vectors that already know
    the train rows by heart, a bias would hardly learn popularity any more.

    Returns:
        The model on the CPU as it was at the best validation, each domain's biases relative to
        the model's, and what happened.
    """
    train = settings.train
    fitted, validated = train_and_valid(frame, users, items)
    domains = [d for d in fitted.domains if len(fitted.domain(d))]
    start_users, start_items = spectral_tables(fitted.csr(), settings.model.dim, train.seed)
    model = MatrixFactorization.from_tables(
        start_users, start_items, settings.model.similarity, settings.model.temperature
    ).to(device)
    check_loss(train, model)
    examples = examples_of(fitted, domains, drawn_power(train), device)
    models: dict[str, BaseModel] = {}
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    for domain in examples:
        bias = DomainBias(None, domain.sampler.items).to(device)
        models[domain.name] = model.replaced(bias=bias)
        parameters[f"bias.{domain.name}"] = bias.b
    validation = RankingValidation(fitted, validated, domains, train.seed, device)
    temperature = None
    if train.learn_temperature:
        temperature = LearntTemperature(models.values(), device)
        parameters["temperature"] = temperature.theta

    def validate() -> dict[str, float]:
        with temperature.applied() if temperature is not None else nullcontext():
            return validation(models)

    listen.begin("pretrain", train.epochs * sum(map(len, examples)))
    # Without checkpoints Ctrl-C ends training at once; with them it ends after a whole step.
    holding: AbstractContextManager[list[int]] = nullcontext([]) if checkpoints is None else held()
    with holding as asked:
        if checkpoints is not None:
            checkpoints = replace(checkpoints, stop=lambda: bool(asked))
            _tell_start(checkpoints, listen)
        history = fit(
            models,
            parameters,
            examples,
            loop_options(train, train, train.learning_rate, train.seed, temperature),
            validate,
            listen.step,
            checkpoints,
            listen.say,
        )
        if checkpoints is not None and history.stopped:
            listen.say(
                f"Saved at step {checkpoints.saved_step} in {checkpoints.folder}. To go on, run "
                f"the same command with --resume."
            )
    if temperature is not None:
        temperature.settle()
        model.temperature = temperature.value
    counts = {d.name: d.sampler.counts for d in examples}
    bias_table = shared_bias(len(items), {n: models[n].bias for n in models}, counts)
    whole = model.replaced(bias=ItemBias(bias_table)).to("cpu")
    beyond = {
        name: _beyond(biases, bias_table)
        for name, biases in ((n, models[n].bias) for n in models)
        if isinstance(biases, DomainBias)
    }
    return whole.requires_grad_(False), beyond, history


def _tell_start(checkpoints: Checkpoints, listen: Listener) -> None:
    if checkpoints.resume:
        there = checkpoints.there
        listen.say(
            f"Going on from the checkpoint of step {there} in {checkpoints.folder}."
            if there is not None
            else f"There is no checkpoint in {checkpoints.folder}: training begins at the start."
        )


@torch.no_grad()
def _beyond(bias: DomainBias, shared: Tensor) -> DomainBiases:
    rows, own = bias.rows.cpu(), bias.b.squeeze(-1).cpu()
    return DomainBiases(rows.numpy(), (own - shared[rows, 0]).numpy())


@torch.no_grad()
def shared_bias(
    items: int, biases: dict[str, nn.Module | None], counts: dict[str, Tensor]
) -> Tensor:
    """The mean of the domains' item biases, weighted by interactions: float32 (items, 1).

    A softmax leaves a domain's biases free by a constant, so each domain is centred on its mean
    interaction first.
    """
    total, weight = torch.zeros(items), torch.zeros(items)
    for name, bias in biases.items():
        if not isinstance(bias, DomainBias):
            continue
        count, own = counts[name].float().cpu(), bias.b.squeeze(-1).cpu()
        rows = bias.rows.cpu()
        total.index_add_(0, rows, count * (own - (own * count).sum() / count.sum()))
        weight.index_add_(0, rows, count)
    return (total / weight.clamp(min=1)).unsqueeze(1)


def described(
    settings: Settings,
    model: MatrixFactorization,
    users: Vocabulary,
    items: Vocabulary,
    frame: pl.DataFrame,
    exclude: Sequence[str],
    source: DataSource,
    split: SplitRecord,
    metrics: dict[str, float],
) -> BaseInfo:
    """All that is known of a base that was just made of split logs, ready to be saved with it."""
    vocabularies = (users.digest(), items.digest())
    return BaseInfo(
        dim=model.dim,
        similarity=model.similarity,
        temperature=model.temperature,
        bias=model.bias is not None,
        digest=weights_digest(model),
        weights_digest=sha256_bytes(),
        users=len(users),
        items=len(items),
        user_vocabulary=vocabularies[0],
        item_vocabulary=vocabularies[1],
        domains=frame["domain"].unique().sort().to_list(),
        excluded_domains=sorted(exclude),
        data=source.model_copy(update={"split": None}),  # it stands below
        split=split,
        seed=settings.train.seed,
        metrics=metrics,
        versions=library_versions(),
    )
