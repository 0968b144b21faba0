"""A base trained on split logs: the loop with a bias for each domain, and checkpoints."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import polars as pl
import torch
from torch import Tensor, nn

from lorarec.config import Settings
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.options import check_loss, drawn_power, loop_options
from lorarec.jobs.sides import NO_SIDES, Sides
from lorarec.jobs.start import DENSE, starting_model, whole_model
from lorarec.lora.layers import DomainBias
from lorarec.models.artefact import DomainBiases
from lorarec.models.base import BaseModel, ItemBias
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TwoTower
from lorarec.tracking.interrupts import held
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.examples import examples_of
from lorarec.training.loop import History, fit
from lorarec.training.temperature import LearntTemperature
from lorarec.training.validation import RankingValidation


def train_base(
    settings: Settings,
    frame: pl.DataFrame,
    users: Vocabulary,
    items: Vocabulary,
    device: str,
    listen: Listener = SILENT,
    sides: Sides = NO_SIDES,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks = ALONE,
) -> tuple[MatrixFactorization | TwoTower, dict[str, DomainBiases], History]:
    """Train a model on split logs.

    Where the model has biases, every domain has one of its own while the base is trained, so that
    its popularity does not bend the vectors that all domains share. The base keeps the mean of
    the biases, weighted by how often each domain shows the item. A domain's difference from it is
    its adapter's to learn, and is returned as where to begin: fitted beside vectors that already
    know the train rows by heart, a bias would hardly learn popularity any more.

    Args:
        settings: Its sections `model` and `train`.
        frame: Split logs.
        users: With a train row.
        items: With a train row.
        device: Where it is trained.
        listen: Takes words and progress.
        sides: Features of users and items, fitted.
        checkpoints: Where to save on the way, and to go on from.
        ranks: The processes that train it together; each calls this.

    Returns:
        The model on the CPU as it was at the best validation, each domain's biases relative to
        the model's, and what happened. Where tables lie in shards the first rank has them whole,
        and the others their own rows.
    """
    train = settings.train
    fitted, validated = train_and_valid(frame, users, items)
    domains = [d for d in fitted.domains if len(fitted.domain(d))]
    model = starting_model(settings, fitted, sides, ranks).to(device)
    check_loss(train, model)
    examples = examples_of(fitted, domains, drawn_power(train), device)
    models: dict[str, BaseModel] = dict.fromkeys(domains, model)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    for domain in examples if settings.model.bias else ():
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

    rates = dict.fromkeys(DENSE, train.tower_rate)
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
            loop_options(train, train, train.learning_rate, train.seed, temperature, rates),
            validate,
            listen.step,
            checkpoints,
            listen.say,
            ranks,
        )
        if checkpoints is not None and history.stopped:
            listen.say(
                f"Saved at step {checkpoints.saved_step} in {checkpoints.folder}. To go on, run "
                f"the same command with --resume."
            )
            if not asked:  # another rank was
                raise KeyboardInterrupt
    if temperature is not None:
        temperature.settle()
        model.temperature = temperature.value
    model = whole_model(model, ranks)
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
