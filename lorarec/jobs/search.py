"""Train one adapter at each step size of a grid and keep what validates best, or the base."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lorarec.config import Settings
from lorarec.errors import DivergedError
from lorarec.jobs.domain import DomainData, touched_rows
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.options import check_loss, drawn_power, loop_options
from lorarec.jobs.start import DENSE
from lorarec.lora.attach import adapter_parameters, attach
from lorarec.lora.config import AdapterConfig
from lorarec.lora.layers import DomainBias
from lorarec.lora.shrinkage import row_pulls
from lorarec.lora.size import AdapterSize, adapter_size
from lorarec.models.artefact import Base, DomainBiases
from lorarec.models.base import BaseModel
from lorarec.tracking.held_runs import RunLog
from lorarec.training.anchor import Anchor
from lorarec.training.examples import examples_of
from lorarec.training.loop import STOP_METRIC, History, fit
from lorarec.training.validation import RankingValidation

Parameters = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Start:
    """Where every trial of a search begins, and what of it may move."""

    model: Callable[[], BaseModel]
    """Makes it anew, for each step size."""
    untouched: Callable[[], BaseModel]
    """What stays where nothing validates better: the frozen base, or the start itself."""
    touched: tuple[int, int]
    """Users and items that the base knows and full fine-tuning would move."""
    what: str
    """That the start is what is kept, in words."""
    stays: str
    """The same of what stays."""
    new: Tensor | None = None
    """int64 (m,): places of the train rows to train on; None is all."""
    parameters: Callable[[BaseModel], Parameters] = adapter_parameters
    """Those of a model to train, by name."""
    anchors: Callable[[Parameters], Mapping[str, Anchor]] = lambda _: {}
    """What holds them near the start."""
    finish: Callable[[BaseModel], None] = lambda _: None
    """Has the last word on the one that is kept."""
    fixed_cold: bool = False
    """Whether items without a bias of their own keep the start's where no step was kept."""


@dataclass(frozen=True)
class Trained:
    """One adapter after its search."""

    model: BaseModel
    history: History
    """Of the kept trial; of no epoch but the start where none was kept."""
    untrained: dict[str, float]
    """Validation metrics of what stays where nothing helps: unless told otherwise, the base."""
    metrics: dict[str, float]
    """Validation metrics of what was kept."""
    learning_rate: float
    """Of the kept trial; 0 where none was kept."""
    size: AdapterSize
    seconds: float
    """Of the whole search."""


def search(
    settings: Settings,
    config: AdapterConfig,
    base: Base,
    data: DomainData,
    device: str,
    listen: Listener = SILENT,
    run: RunLog | None = None,
    start: Start | None = None,
) -> Trained:
    """Train an adapter of a domain.

    Every method searches the same grid of step sizes, so that none is favoured. Where no trial
    validates better than the frozen base, the adapter stays untrained: it scores as the base does.
    Unless told otherwise, a trial begins at the biases that pretraining learnt of the domain, so
    before its first step it scores as the base with those; where no step improves on that, they are
    what is kept.

    Args:
        settings: Its section `adapt`.
        config: Shape of the adapter, or full fine-tuning.
        base: What is adapted; its weights are not touched.
        data: Rows of the domain.
        device: Where to train.
        listen: Takes words and progress.
        run: Takes each trial's curve.
        start: Where every trial begins instead.

    Raises:
        TrainingError: There is nothing to train.
        DivergedError: No step size of the grid gave finite numbers; a single one that does not is
            said and left out.
    """
    started = time.perf_counter()
    adapt, domain = settings.adapt, data.name
    check_loss(settings.train.model_copy(update={"learn_temperature": False}), base.model)
    examples = examples_of(data.train, [domain], drawn_power(settings.train), device)
    if start is not None and start.new is not None:
        examples = [examples[0].only(start.new.to(device))]
    validation = RankingValidation(data.train, data.valid, [domain], config.seed, device)
    if not len(validation):
        listen.say(
            f"{domain} has no validation rows: the step size is {adapt.learning_rate:g} and "
            f"training runs for all {adapt.epochs} epochs."
        )
    grid = adapt.learning_rate_grid if len(validation) else (1.0,)
    listen.begin(f"{config.kind} {domain}", adapt.epochs * len(examples[0]) * len(grid))
    start = start or from_scratch(base, config, data, adapt.grown_ridge)
    base.model.to(device)
    fresh = start.untouched().to(device)
    untrained = validation({domain: fresh})
    # Whole layers move as slowly as in pretraining. Factors of layers do so of themselves: the
    # first step of Adam moves W by its step size ÷ √in.
    rates = dict.fromkeys(DENSE, settings.train.tower_rate if config.kind == "full" else 1.0)
    trials = []
    diverged: list[DivergedError] = []
    for place, multiple in enumerate(grid):
        model = start.model().to(device)
        parameters = start.parameters(model)
        rate = adapt.learning_rate * multiple
        pulls = row_pulls(
            model, {"users": data.train.user, "items": data.train.item}, adapt.shrinkage
        )
        options = loop_options(settings.train, adapt, rate, config.seed, rates=rates, pulls=pulls)
        models = {domain: model}
        try:
            history = fit(
                models,
                parameters,
                examples,
                replace(options, anchors=start.anchors(parameters)),
                lambda models=models: validation(models),  # type: ignore[misc]
                listen.step,
                None,
                listen.say,
            )
        except DivergedError as error:
            diverged.append(error)
            if len(grid) > 1:
                listen.say(
                    f"A learning rate of {options.learning_rate:g} is too large for {domain} and "
                    f"left out: training ended in numbers that are not finite."
                )
            continue
        trials.append((history, model, options.learning_rate))
        if run and len(trials) == 1:
            # First, as MLflow's comparison of runs begins with the metric that was there first.
            run.log_metrics(history.epochs[0], step=0)
        for epoch, metrics in enumerate(history.epochs if run else ()):
            values = {f"trial_{place}/{name}": value for name, value in metrics.items()}
            run.log_metrics(values, step=epoch)  # type: ignore[union-attr]
    if not trials:
        base.model.to("cpu")
        raise diverged[0]
    history, model, rate = max(trials, key=lambda trial: trial[0].best)
    kept = history.epochs[history.best_epoch]
    if untrained and kept[STOP_METRIC] <= untrained[STOP_METRIC]:
        listen.say(f"Nothing helped {domain} on validation: {start.stays}.")
        model, kept, rate = fresh, untrained, 0.0
        history = History([untrained], 0, untrained[STOP_METRIC], history.seconds)
    elif history.best_epoch == 0:
        listen.say(f"No step of training helped {domain} on validation: {start.what}.")
        rate, history = 0.0, History([kept], 0, history.best, history.seconds)
    base.model.to("cpu")
    model = model.to("cpu").requires_grad_(False)
    if rate or not start.fixed_cold:
        _set_cold_bias(model, examples[0].sampler.items.cpu(), examples[0].sampler.counts.cpu())
    start.finish(model)
    size = adapter_size(model, *start.touched)
    seconds = time.perf_counter() - started
    return Trained(model, history, untrained, kept, rate, size, seconds)


def from_scratch(base: Base, config: AdapterConfig, data: DomainData, ridge: float) -> Start:
    """A fresh adapter at the biases that pretraining learnt; the base where nothing helps.

    Args:
        base: What is adapted.
        config: Shape of the adapter.
        data: Rows of the domain.
        ridge: `adapt.grown_ridge`, λ of where new ids start.
    """
    touched = touched_rows(base, data, ridge)

    def model() -> BaseModel:
        fresh = attach(base.model, config, touched)
        _begin_bias(fresh, base.domain_bias.get(data.name))
        return fresh

    return Start(
        model,
        lambda: attach(base.model, config, touched),
        (len(touched.users), len(touched.items)),
        "the adapter is the base with the item biases that pretraining learnt of the domain",
        "the adapter leaves the base as it is",
    )


@torch.no_grad()
def _begin_bias(model: BaseModel, start: DomainBiases | None) -> None:
    """Begin at what pretraining learnt of the domain's popularity; items new since then at zero."""
    if not isinstance(model.bias, DomainBias) or start is None or not len(start.rows):
        return
    rows, values = torch.from_numpy(start.rows), torch.from_numpy(start.values)
    own = model.bias.rows.cpu()
    place = torch.searchsorted(rows, own).clamp(max=len(rows) - 1)
    found = torch.where(rows[place] == own, values[place], torch.zeros(len(own)))
    model.bias.b.copy_(found.unsqueeze(1).to(model.bias.b.device))


def _set_cold_bias(model: BaseModel, items: torch.Tensor, counts: torch.Tensor) -> None:
    """Items that the domain's train rows lack get what its rarest items have on average."""
    if isinstance(model.bias, DomainBias):
        rarest = items[counts == counts.min()]
        model.bias.set_cold(rarest[torch.isin(rarest, model.bias.rows)])
