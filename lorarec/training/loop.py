"""The training loop: one for a base, a full fine-tune and an adapter.

They differ only in which parameters are trained and in which optimiser group each belongs to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lorarec.errors import DivergedError, TrainingError
from lorarec.models.base import BaseModel
from lorarec.training.anchor import Anchor
from lorarec.training.averaging import WeightAverage
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.examples import DomainExamples, shuffled
from lorarec.training.exchange import exchanged
from lorarec.training.hybrid import HybridOptimizer, OptimizerName
from lorarec.training.objective import Objective, Share
from lorarec.training.precision import Precision, autocast, no_room, no_state_room, out_of_memory
from lorarec.training.schedule import Decay, step_scale
from lorarec.training.sharded_table import norm_over, sharded_tables, spread_of
from lorarec.training.state import captured, restore

Validate = Callable[[], Mapping[str, float]]
"""Measures the model as it is; `STOP_METRIC` decides about stopping."""
STOP_METRIC = "valid_ndcg"
"""nDCG without a cut-off moves with every held-out rank, so it is less noisy than recall@20."""
EXPLODED = 1e6
"""A loss above so many times the first one (or 1) does not come back."""


@dataclass(frozen=True)
class Options:
    """How long and how fast to train; `config.Train` and `config.Adapt` have the defaults."""

    epochs: int
    batch_size: int
    """Rows a step, of all ranks together."""
    negatives: int
    learning_rate: float
    weight_decay: float = 0.0
    patience: int = 5
    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    """Beginning of a parameter's name → multiple of the learning rate, such as of dense layers."""
    pulls: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a table → float (V,): decay of each of its rows besides `weight_decay`."""
    averaging: float = 1.0
    """Weight of the newest epoch in the average that is kept; 1 keeps the epoch itself."""
    objective: Objective = field(default_factory=lambda: Objective(0))
    """What is minimised; its draws a step are `negatives`."""
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    """A parameter's name → what it is pulled back to."""
    optimizer: OptimizerName = "adam"
    """Of tables; dense layers have AdamW."""
    warmup_share: float = 0.0
    decay: Decay = "none"
    clip_norm: float | None = None
    precision: Precision = "float32"
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
    stopped: bool = False
    """It was asked to stop and saved a checkpoint; the model is in the middle of its training."""


def fit(
    models: Mapping[str, BaseModel],
    parameters: Mapping[str, nn.Parameter],
    domains: Sequence[DomainExamples],
    options: Options,
    validate: Validate,
    report: Callable[[Progress], None] = lambda _: None,
    checkpoints: Checkpoints | None = None,
    say: Callable[[str], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> History:
    """Train some parameters of a model and leave them as they were at the best validation.

    Every batch is of one domain and is contrasted with that domain's catalogue, as the objective
    says. The untrained model is measured first, so that training never leaves it worse on
    validation.

    Args:
        models: The model of each domain by its name: the same base for all, or that base with an
            adapter of the domain's own.
        parameters: Those to train, by name; all others stay as they are.
        domains: Rows to train on.
        options: Epochs, step size and so on. The same seed gives the same result on the CPU.
        validate: Measures the model; called before the first epoch and after each.
        report: Called after every step and every epoch.
        checkpoints: Where to save, and to go on from. A training that went on from a checkpoint
            ends with the weights, to the bit on the CPU, of one that was never broken off.
        say: Takes a sentence that a person should read.
        ranks: The processes that train together, each of which calls this with the same. They end
            with the same parameters to the bit, which are those of one process but for rounding;
            layers that draw, such as dropout, draw other numbers. Of a `ShardedTable` each rank
            gives and keeps its own rows.

    Raises:
        ConfigError: The ranks have other rows.
        RankError: Another rank failed.
        TrainingError: Nothing to train, or not even one row fits into memory.
        DivergedError: The loss or a parameter is not a finite number.
    """
    if not parameters:
        raise TrainingError(
            "There is no parameter to train: no row of the domain is touched by these targets. "
            "Expected some rows; add `bias` or `transform` to --targets."
        )
    training = Training(
        models, parameters, domains, options, validate, report, checkpoints, say, ranks
    )
    # Layers that draw, such as dropout, use torch's own random numbers: seeded, and given back.
    device = domains[0].users.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        try:
            return training.run()
        finally:
            for model in models.values():
                model.eval()


class Training:
    """One call of `fit`: what it was given, and all that a checkpoint has to hold."""

    def __init__(
        self,
        models: Mapping[str, BaseModel],
        parameters: Mapping[str, nn.Parameter],
        domains: Sequence[DomainExamples],
        options: Options,
        validate: Validate,
        report: Callable[[Progress], None],
        checkpoints: Checkpoints | None,
        say: Callable[[str], None],
        ranks: Ranks,
    ) -> None:
        self.ranks, self.share = ranks, Share(ranks.rank, ranks.size)
        self.models, self.parameters, self.domains = models, parameters, domains
        self.options, self.validate = options, validate
        self.report, self.checkpoints, self.say = report, checkpoints, say
        self.objective = replace(options.objective, negatives=options.negatives)
        self.sharded = sharded_tables(models.values(), parameters)
        self.spread = spread_of(self.sharded)
        self.device = domains[0].users.device
        drawing = self.device if self.device.type == "cuda" else torch.device("cpu")
        self.generator = torch.Generator(drawing).manual_seed(options.seed)
        self.optimizer = HybridOptimizer(
            parameters,
            options.optimizer,
            options.learning_rate,
            options.weight_decay,
            options.clip_norm,
            options.rates,
            options.anchors,
            options.pulls,
            norm_over(self.sharded, ranks) if self.sharded else None,
        )
        self.average = WeightAverage(parameters, options.averaging)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        sizes = [len(domain) for domain in domains]
        self.steps = options.epochs * sum(math.ceil(n / options.batch_size) for n in sizes)
        self.step, self.epoch, self.batch, self.waited = 0, 1, 0, 0
        self.batch_size = options.batch_size
        self.loss, self.rows = 0.0, 0
        self.first_loss: float | None = None
        self.order = self.generator.get_state()
        """The generator's state when the epoch began: it gives the epoch's batches again."""
        self.draws = self.order
        """The generator's state at the checkpoint that this training goes on from."""
        self.started = time.perf_counter()

    def run(self) -> History:
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        found = None if self.checkpoints is None else self.checkpoints.load(self.spread)
        if self.ranks.together:
            self.ranks.agree({f"rows of {d.name}": d.digest() for d in self.domains})
        if found is None:
            # Another kind of processor may have rounded the start otherwise.
            self.ranks.copy_from_first(
                p.data for name, p in self.parameters.items() if name not in self.sharded
            )
            self.measure(0, None)
        else:
            restore(self, *found)
            self.report(Progress(self.epoch, self.rows_done(), self.loss, 0.0))
        while self.epoch <= self.options.epochs and self.waited < self.options.patience:
            self.train_epoch()
            if self.history.stopped:
                break
            self.average.update()
            with self.average.applied():
                kept = self.measure(self.epoch, self.loss / self.rows)
            self.waited = 0 if kept else self.waited + 1
            self.epoch, self.batch, self.loss, self.rows = self.epoch + 1, 0, 0.0, 0
            self.order = self.generator.get_state()
        if self.checkpoints is not None and any(self.ranks.any(self.checkpoints.stop())):
            self.save()
            self.history.stopped = True
        else:
            with torch.no_grad():
                for name, value in self.best.items():
                    self.parameters[name].copy_(value)
            self.check_finite()
        self.history.seconds += time.perf_counter() - self.started
        return self.history

    def rows_done(self) -> int:
        """Rows trained on in all sittings."""
        return (self.epoch - 1) * sum(map(len, self.domains)) + self.rows

    def check_finite(self) -> None:
        """Refuse what the last step of an epoch broke: no later loss would have told."""
        broken = [n for n, p in self.parameters.items() if not bool(torch.isfinite(p).all())]
        if broken:
            rate = self.options.learning_rate
            raise DivergedError(
                f"The values of {', '.join(broken[:5])} are not finite after training with a "
                f"learning rate of {rate:g}.{self.last_good()} Expected finite numbers; try "
                f"{self.options.lower}"
            )

    def measure(self, epoch: int, loss: float | None) -> bool:
        """Validate; a copy of the parameters is taken when they are the best so far."""
        for model in self.models.values():
            model.eval()
        with torch.no_grad():
            # What lies in shards is asked of all ranks, so there all of them measure.
            own = dict(self.validate()) if self.sharded else None
            metrics = self.ranks.from_first(lambda: dict(self.validate()) if own is None else own)
        if loss is not None:
            metrics["train_loss"] = loss
        self.history.epochs.append(metrics)
        self.report(Progress(epoch, 0, loss or 0.0, 0.0, metrics))
        # Without anything to validate on, the latest is the best there is.
        found = metrics.get(STOP_METRIC, float(epoch))
        if found <= self.history.best:
            return False
        self.history.best, self.history.best_epoch = found, epoch
        self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        return True

    def train_epoch(self) -> None:
        for model in self.models.values():
            model.train()
        self.generator.set_state(self.order)
        batches = shuffled(self.domains, self.options.batch_size, self.generator)
        if self.batch:  # resumed in the middle: those before are done, and so are their draws
            self.generator.set_state(self.draws)
        for domain, batch in batches[self.batch :]:
            self.train_batch(domain, batch)
            self.batch += 1
            if self.checkpoints is None:
                continue
            stop, due = self.ranks.any(self.checkpoints.stop(), self.checkpoints.due(self.step))
            if stop:
                self.history.stopped = True
                return
            if due:
                self.save()

    def train_batch(self, domain: DomainExamples, batch: Tensor) -> None:
        clock = time.perf_counter()
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            if len(part) > self.batch_size:  # memory ran out before
                waiting += list(torch.split(part, self.batch_size))[::-1]
                continue
            own, full = 0.0, None
            try:
                own = self.backward(domain, part)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self.sharded:
                    raise no_room(len(part), self.device) from error
                full = error
                self.optimizer.zero_grad()
            value = exchanged(self.parameters, own, full is None, self.ranks, self.sharded)
            if value is None:
                self.halve(len(part), full)
                waiting.append(part)
                continue
            self.check_loss(value, domain, part)
            self.move()
            self.loss, self.rows = self.loss + value * len(part), self.rows + len(part)
            seconds = max(time.perf_counter() - clock, 1e-9)
            self.report(Progress(self.epoch, len(part), value, len(part) / seconds))
            clock = time.perf_counter()

    def move(self) -> None:
        options = self.options
        try:
            self.optimizer.step(
                step_scale(self.step, self.steps, options.warmup_share, options.decay)
            )
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise no_state_room(self.parameters.values(), self.device) from error
        self.step += 1

    def backward(self, domain: DomainExamples, batch: Tensor) -> float:
        """Gradients of this rank's share of a batch, and its part of the loss."""
        self.optimizer.zero_grad()
        for table in self.sharded.values():
            table.forget()
        self.ranks.reseed(self.options.seed, self.step)
        with autocast(self.options.precision, str(self.device)):
            loss = self.objective(
                self.models[domain.name], domain, batch, self.generator, self.share
            )
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def check_loss(self, value: float, domain: DomainExamples, batch: Tensor) -> None:
        if self.first_loss is None:
            self.first_loss = value
        if not math.isfinite(value) or value > EXPLODED * max(self.first_loss, 1.0):
            raise DivergedError(
                f"The loss of domain {domain.name!r} became {value:g} in epoch {self.epoch} with a "
                f"learning rate of {self.options.learning_rate:g}. It was step {self.step + 1}, "
                f"and its batch of {len(batch)} rows has digest {domain.digest(batch)}."
                f"{self.last_good()} Expected a finite number{self.usual()}; try "
                f"{self.options.lower}"
            )

    def usual(self) -> str:
        first = self.first_loss
        return "" if first is None or not math.isfinite(first) else f" like the first, {first:.4g}"

    def last_good(self) -> str:
        return "" if self.checkpoints is None else f" {self.checkpoints.last_good}"

    def halve(self, rows: int, error: RuntimeError | None) -> None:
        """After a batch of so many rows did not fit; without an error, on another rank."""
        self.optimizer.zero_grad()
        state = self.generator.get_state()
        self.ranks.copy_from_first([state])  # a rank that broke off may have drawn less
        self.generator.set_state(state)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows <= 1:
            why = str(error or "so says another rank").splitlines()[0]
            raise TrainingError(
                f"Not even one row a step fits into the memory of {self.device}, with "
                f"{self.options.negatives:,} negatives ({why}). Expected "
                f"some room beside the tables; lower the negatives, the dimension, or use "
                f"--device cpu."
            ) from error
        self.batch_size = max(1, rows // 2)
        self.say(
            f"Out of memory on {self.device} with {rows:,} rows a step: going on with "
            f"{self.batch_size:,}. Set batch_size to that to begin with it."
        )

    def save(self) -> None:
        """Write all that the rest of the training depends on, and nothing that is not finite."""
        assert self.checkpoints is not None
        self.check_finite()
        self.checkpoints.save(*captured(self), self.spread, self.ranks)
