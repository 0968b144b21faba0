"""The training loop: one for a base, a full fine-tune and an adapter.

They differ only in which parameters are trained and in which optimiser group each belongs to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lorarec.errors import DivergedError, TrainingError
from lorarec.models.base import BaseModel
from lorarec.training.averaging import WeightAverage
from lorarec.training.examples import DomainExamples
from lorarec.training.losses import full_softmax, sampled_softmax
from lorarec.training.modes import training
from lorarec.training.optimizers import RowAdam

Validate = Callable[[], Mapping[str, float]]
"""Measures the model as it is; `STOP_METRIC` decides about stopping."""
STOP_METRIC = "valid_ndcg"
"""nDCG without a cut-off moves with every held-out rank, so it is less noisy than recall@20."""


@dataclass(frozen=True)
class Options:
    """How long and how fast to train; `config.Train` and `config.Adapt` have the defaults."""

    epochs: int
    batch_size: int
    negatives: int
    learning_rate: float
    weight_decay: float = 0.0
    patience: int = 5
    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    """Beginning of a parameter's name → multiple of the learning rate, such as of dense layers."""
    averaging: float = 1.0
    """Weight of the newest epoch in the average that is kept; 1 keeps the epoch itself."""
    lower: str = "a lower learning rate"
    """What to try where training diverges, such as `--set train.learning_rate=0.003`."""


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows after a step, and after an epoch the validation too."""

    epoch: int
    rows: int
    """Rows trained on since the last report."""
    loss: float
    rows_per_second: float
    metrics: Mapping[str, float] | None = None
    """Validation metrics, at the end of an epoch."""


@dataclass
class History:
    """What happened: metrics by epoch (0 is before the first step) and the best of them."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float = -1.0
    seconds: float = 0.0


def fit(
    models: Mapping[str, BaseModel],
    parameters: Mapping[str, nn.Parameter],
    domains: Sequence[DomainExamples],
    options: Options,
    validate: Validate,
    report: Callable[[Progress], None] = lambda _: None,
) -> History:
    """Train some parameters of a model and leave them as they were at the best validation.

    Every batch is of one domain and is contrasted with that domain's catalogue: all of it when it
    is not larger than `options.negatives`, else that many draws with the logQ correction. The
    untrained model is measured first, so that training never leaves it worse on validation.

    Args:
        models: The model of each domain by its name: the same base for all, or that base with an
            adapter of the domain's own.
        parameters: Those to train, by name; all others stay as they are.
        domains: Rows to train on.
        options: Epochs, step size and so on. The same seed gives the same result on the CPU.
        validate: Measures the model; called before the first epoch and after each.
        report: Called after every step and every epoch.

    Raises:
        TrainingError: Nothing to train.
        DivergedError: The loss or a parameter is not a finite number.
    """
    if not parameters:
        raise TrainingError(
            "There is no parameter to train: no row of the domain is touched by these targets. "
            "Expected some rows; add `bias` or `transform` to --targets."
        )
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = RowAdam(
        _groups(parameters, options), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    started = time.perf_counter()
    history = History()
    best = _measure(validate, history, 0, None, parameters, report)
    waited = 0
    average = WeightAverage(parameters, options.averaging)
    for epoch in range(1, options.epochs + 1):
        with training(models.values(), options.seed, epoch):
            losses = _train_epoch(models, domains, options, generator, optimizer, epoch, report)
        average.update()
        with average.applied():
            kept = _measure(validate, history, epoch, losses, parameters, report)
        best, waited = (kept, 0) if kept else (best, waited + 1)
        if waited >= options.patience:
            break
    with torch.no_grad():
        for name, value in (best or {}).items():
            parameters[name].copy_(value)
    _check_finite(parameters, options)
    history.seconds = time.perf_counter() - started
    return history


def _groups(parameters: Mapping[str, nn.Parameter], options: Options) -> list[dict[str, Any]]:
    """The parameters by their step size."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rates = [rate for start, rate in options.rates.items() if name.startswith(start)]
        groups.setdefault(rates[0] if rates else 1.0, []).append(parameter)
    return [{"params": own, "lr": options.learning_rate * rate} for rate, own in groups.items()]


def _check_finite(parameters: Mapping[str, nn.Parameter], options: Options) -> None:
    """Refuse what the last step of an epoch broke: no later loss would have told."""
    broken = [name for name, p in parameters.items() if not bool(torch.isfinite(p).all())]
    if broken:
        raise DivergedError(
            f"The values of {', '.join(broken[:5])} are not finite after training with a learning "
            f"rate of {options.learning_rate:g}. Expected finite numbers; try {options.lower}"
        )


def _measure(
    validate: Validate,
    history: History,
    epoch: int,
    loss: float | None,
    parameters: Mapping[str, nn.Parameter],
    report: Callable[[Progress], None],
) -> dict[str, Tensor] | None:
    """Validate; a copy of the parameters when they are the best so far."""
    with torch.no_grad():
        metrics = dict(validate())
    if loss is not None:
        metrics["train_loss"] = loss
    history.epochs.append(metrics)
    report(Progress(epoch, 0, loss or 0.0, 0.0, metrics))
    # Without anything to validate on, the latest is the best there is.
    if metrics.get(STOP_METRIC, float(epoch)) <= history.best:
        return None
    history.best, history.best_epoch = metrics.get(STOP_METRIC, float(epoch)), epoch
    return {name: p.detach().clone() for name, p in parameters.items()}


def _train_epoch(
    models: Mapping[str, BaseModel],
    domains: Sequence[DomainExamples],
    options: Options,
    generator: torch.Generator,
    optimizer: RowAdam,
    epoch: int,
    report: Callable[[Progress], None],
) -> float:
    total, rows = 0.0, 0
    for domain, batch in _batches(domains, options.batch_size, generator):
        clock = time.perf_counter()
        loss = batch_loss(models[domain.name], domain, batch, options.negatives, generator)
        value = float(loss.detach())
        if value != value or value in (float("inf"), float("-inf")):
            raise DivergedError(
                f"The loss of domain {domain.name!r} became {value} in epoch {epoch} with a "
                f"learning rate of {options.learning_rate:g}. Expected a finite number; try "
                f"{options.lower}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, rows = total + value * len(batch), rows + len(batch)
        seconds = max(time.perf_counter() - clock, 1e-9)
        report(Progress(epoch, len(batch), value, len(batch) / seconds))
    return total / rows


def _batches(
    domains: Sequence[DomainExamples], size: int, generator: torch.Generator
) -> Iterator[tuple[DomainExamples, Tensor]]:
    """Batches of one domain each, rows and batches in a random order."""
    batches = []
    for domain in domains:
        order = torch.randperm(len(domain), generator=generator).to(domain.users.device)
        batches += [(domain, part) for part in torch.split(order, size)]
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]


def batch_loss(
    model: BaseModel,
    domain: DomainExamples,
    batch: Tensor,
    negatives: int,
    generator: torch.Generator,
) -> Tensor:
    """The softmax loss of one batch of a domain's rows.

    Args:
        model: Gives vectors and biases.
        domain: Rows and catalogue.
        batch: int64 (n,): places of the batch's rows.
        negatives: Draws a step; a catalogue not larger than this is taken whole.
        generator: Of the draws.
    """
    # A model with histories must not see there what the row is to predict.
    users = model.user_vectors(domain.users[batch], without=domain.items[batch])
    places = domain.sampler.places(domain.items[batch])
    weights = None if domain.weights is None else domain.weights[batch]
    if len(domain.sampler) <= negatives:
        return full_softmax(_logits(model, users, domain.sampler.items), places, weights)
    drawn = domain.sampler.draw(negatives, generator)
    # Each distinct item is looked up once: positives and negatives repeat a lot.
    distinct, where = torch.unique(torch.cat([places, drawn]), return_inverse=True)
    items = domain.sampler.items[distinct]
    vectors, bias = model.item_vectors(items), model.item_bias(items)
    own, others = where[: len(places)], where[len(places) :]
    positive = (users * vectors.index_select(0, own)).sum(-1)
    negative = users @ vectors.index_select(0, others).T
    if bias is not None:
        positive = positive + bias.index_select(0, own)
        negative = negative + bias.index_select(0, others)
    return sampled_softmax(
        positive,
        negative,
        domain.sampler.log_probability[drawn],
        places.unsqueeze(1) == drawn.unsqueeze(0),
        weights,
    )


def _logits(model: BaseModel, users: Tensor, items: Tensor) -> Tensor:
    logits = users @ model.item_vectors(items).T
    bias = model.item_bias(items)
    return logits if bias is None else logits + bias
