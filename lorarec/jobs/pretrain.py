"""Pretrain one base over all domains but the excluded ones, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord, apply_split, split_logs
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import NotFoundError, did_you_mean
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.sides import NO_SIDES, Sides, read_sides
from lorarec.jobs.start import DENSE, starting_model
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
from lorarec.models.two_tower import TwoTower
from lorarec.storage import sha256_bytes
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.examples import examples_of
from lorarec.training.loop import History, Options, fit
from lorarec.training.validation import RankingValidation


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

    Raises:
        DataError: The logs break the column contract.
        NotFoundError: An excluded domain is not in the logs.
        TrainingError: A domain has nothing to train on.
        DivergedError: The loss is not finite.
    """
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    tables = read_sides(settings)
    frame, source = DataSource.of(paths, settings.data).read()
    if source.dropped:
        listen.say(f"{source.dropped:,} rows are rated below [data] min_rating and left out.")
    split_frame, split = _split(settings, frame, source)
    for note in split.notes:
        listen.say(note)
    kept = without(split_frame, exclude)
    tags = standard_tags(
        data_digest=source.digest, split=split.used, cutoff=split.t_test, device=device
    )
    name = f"pretrain-{settings.model.name}-d{settings.model.dim}"
    with store.run(
        name, "pretrain", params=settings.flat(), tags=tags, config=settings.model_dump()
    ) as run:
        users, items = trained_ids(kept)
        sides = tables.fitted(settings, users, items, listen)
        model, domain_bias, history = train_base(
            settings, kept, users, items, device, listen, sides
        )
        if history.best_epoch == 0:
            listen.say(
                f"No epoch of {len(history.epochs) - 1} validated better than the start: the base "
                f"is its initial vectors, untrained. Look at [train] learning_rate, now "
                f"{settings.train.learning_rate:g}, and epochs before you adapt it."
            )
        for epoch, metrics in enumerate(history.epochs):
            run.log_metrics(metrics, step=epoch)
        info = _describe(settings, model, users, items, kept, exclude, source, split, history)
        info = info.model_copy(update={"features": sides.info()})
        base = Base(model, users, items, info, domain_bias, sides.features)
        with run.artifact_folder("base") as folder:
            save_base(base, folder)
        run.log_metrics({"train_seconds": history.seconds, "best_epoch": history.best_epoch})
        run.log_metrics(info.metrics, step=len(history.epochs))
        run.log_json("split.json", split.model_dump())
        run.set_tags(standard_tags(base_digest=base.digest))
    return Pretrained(base, run.uri, history)


def _split(
    settings: Settings, frame: pl.DataFrame, source: DataSource
) -> tuple[pl.DataFrame, SplitRecord]:
    """The split that a prepared data set brings, or the one that the settings ask for."""
    if source.split is not None:
        return apply_split(frame, source.split), source.split
    data = settings.data
    return split_logs(
        frame,
        data.split,
        valid_share=data.valid_share,
        test_share=data.test_share,
        seed=settings.train.seed,
    )


def without(frame: pl.DataFrame, excluded: Sequence[str]) -> pl.DataFrame:
    """The logs without some domains.

    Raises:
        NotFoundError: A domain is not there, or none would be left.
    """
    domains = frame["domain"].unique().sort().to_list()
    for name in excluded:
        if name not in domains:
            raise NotFoundError(
                f"There is no domain {name!r} to exclude.{did_you_mean(name, domains)}"
            )
    if not set(domains) - set(excluded):
        raise NotFoundError(
            f"All domains are excluded ({', '.join(domains)}). Expected at least one to train on."
        )
    return frame.filter(~pl.col("domain").is_in(list(excluded))) if excluded else frame


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
    sides: Sides = NO_SIDES,
) -> tuple[MatrixFactorization | TwoTower, dict[str, DomainBiases], History]:
    """Train a model on split logs.

    Where the model has biases, every domain has one of its own while the base is trained, so that
    its popularity does not bend the vectors that all domains share. The base keeps the mean of
    the biases, weighted by how often each domain shows the item. A domain's difference from it is
    its adapter's to learn, and is returned as where to begin: fitted beside vectors that already
    know the train rows by heart, a bias would hardly learn popularity any more.

    Returns:
        The model on the CPU as it was at the best validation, each domain's biases relative to
        the model's, and what happened.
    """
    train = settings.train
    fitted, validated = train_and_valid(frame, users, items)
    domains = [d for d in fitted.domains if len(fitted.domain(d))]
    model = starting_model(settings, fitted, sides).to(device)
    examples = examples_of(fitted, domains, device=device)
    models: dict[str, BaseModel] = dict.fromkeys(domains, model)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    for domain in examples if settings.model.bias else ():
        bias = DomainBias(None, domain.sampler.items).to(device)
        models[domain.name] = model.replaced(bias=bias)
        parameters[f"bias.{domain.name}"] = bias.b
    validation = RankingValidation(fitted, validated, domains, train.seed, device)
    listen.begin("pretrain", train.epochs * sum(map(len, examples)))
    history = fit(
        models,
        parameters,
        examples,
        Options(
            epochs=train.epochs,
            batch_size=train.batch_size,
            negatives=train.negatives,
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            patience=train.patience,
            seed=train.seed,
            rates=dict.fromkeys(DENSE, train.tower_rate),
            averaging=train.averaging,
            lower=f"--set train.learning_rate={train.learning_rate / 10:g}",
        ),
        lambda: validation(models),
        listen.step,
    )
    if not settings.model.bias:
        return model.to("cpu").requires_grad_(False), {}, history
    counts = {d.name: d.sampler.counts for d in examples}
    bias_table = shared_bias(len(items), {n: models[n].bias for n in models}, counts)
    whole = model.replaced(bias=ItemBias(bias_table)).to("cpu")
    beyond = {
        name: _beyond(biases, bias_table)
        for name, biases in ((n, models[n].bias) for n in models)
        if isinstance(biases, DomainBias)
    }
    return whole.requires_grad_(False), beyond, history


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


def _describe(
    settings: Settings,
    model: MatrixFactorization | TwoTower,
    users: Vocabulary,
    items: Vocabulary,
    frame: pl.DataFrame,
    exclude: Sequence[str],
    source: DataSource,
    split: SplitRecord,
    history: History,
) -> BaseInfo:
    vocabularies = (users.digest(), items.digest())
    return BaseInfo(
        model=settings.model.name,
        tower=model.config if isinstance(model, TwoTower) else None,
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
        metrics=history.epochs[history.best_epoch],
        versions=library_versions(),
    )
