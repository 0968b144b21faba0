"""What takes one step of a batch that mixes domains: stacked, one by one, or by PEFT's adapters.

The base is that of `adapter_arms.py`; each of D domains has an item adapter of its own and as many
rows of a batch as any other. Negatives are drawn from the domain's own catalogue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.adapter_arms import BATCH, RATE, World, adapted, with_peft
from lorarec.lora.attach import adapter_parameters
from lorarec.lora.stacked import stacked
from lorarec.models.base import BaseModel
from lorarec.training.examples import DomainExamples
from lorarec.training.hybrid import HybridOptimizer
from lorarec.training.mixed import mixed
from lorarec.training.objective import Objective

STACKED, ONE_BY_ONE = "lorarec, stacked", "lorarec, one by one"
PEFT_LOOP, PEFT_ADAM = "PEFT, one by one, fused Adam", "PEFT, one by one, Adam"
PEFT = (PEFT_LOOP, PEFT_ADAM)


class DomainArm:
    """D domains; each call of `step` takes the next mixed batch of their logs."""

    def __init__(self, name: str, world: World, domains: int) -> None:
        self.name, self.count, self.each = name, domains, BATCH // domains
        self.logs = [world.log(seed, self.each) for seed in range(1, domains + 1)]
        self.touched = sum(len(log.sampler) for log in self.logs)
        self.objective, self.draws = Objective(1, "bpr"), torch.Generator().manual_seed(2)
        self.done = 0
        base = world.base()
        if name in PEFT:
            self._peft(base)
        else:
            self._ours([adapted(base, log.sampler.items) for log in self.logs])
        for log in self.rows:
            _ = log.places, log.known  # as every step but the first finds them

    def _ours(self, models: Sequence[BaseModel]) -> None:
        if self.name == STACKED:
            stack = stacked(models)
            self.models: Sequence[BaseModel] = [stack]
            self.rows: Sequence[DomainExamples] = [
                mixed(self.logs, stack.users.stride, stack.items.stride)
            ]
            named = [dict(stack.named_parameters())]
        else:
            self.models, self.rows = models, self.logs
            named = [adapter_parameters(model) for model in models]
        self.parameters = [list(own.values()) for own in named]
        optimizers = [HybridOptimizer(own, lr=RATE) for own in named]
        self.zero = [own.zero_grad for own in optimizers]
        self.move: Sequence[Callable[[], object]] = [own.step for own in optimizers]

    def _peft(self, base: BaseModel) -> None:
        """A loop over adapters: PEFT trains one at a time, and refuses a mixed batch."""
        names = [f"d{k}" for k in range(self.count)]
        model = with_peft(base, names)
        self.models, self.rows = [model] * self.count, self.logs
        self.parameters = []
        for name in names:
            model.items.set_adapter(name)
            self.parameters.append([p for p in model.parameters() if p.requires_grad])
        fused = self.name == PEFT_LOOP or None
        optimizers = [torch.optim.Adam(own, lr=RATE, fused=fused) for own in self.parameters]
        self.zero, self.move = [own.zero_grad for own in optimizers], [o.step for o in optimizers]
        self.names = names

    def batches(self, number: int, shuffled: bool = True) -> list[Tensor]:
        """Places of a mixed batch in the rows of each model, cut by domain where there are many."""
        own = torch.arange(number * self.each, (number + 1) * self.each)
        if self.name != STACKED:
            return [own] * self.count
        size = len(self.logs[0])
        places = torch.cat([own + size * k for k in range(self.count)])
        if not shuffled:
            return [places]
        return [places[torch.randperm(len(places), generator=torch.Generator().manual_seed(7))]]

    def loss(self, place: int, batch: Tensor, draws: torch.Generator) -> Tensor:
        """Of one model's rows."""
        model = self.models[place]
        if self.name in PEFT:
            model.items.set_adapter(self.names[place])
        return self.objective(model, self.rows[place], batch, draws)

    def step(self) -> float:
        """A whole step on the next mixed batch; milliseconds of processor time."""
        batches = self.batches(self.done)
        self.done += 1
        started = time.process_time()
        for place, (batch, zero, move) in enumerate(
            zip(batches, self.zero, self.move, strict=True)
        ):
            zero()
            self.loss(place, batch, self.draws).backward()
            move()
        return (time.process_time() - started) * 1e3

    def after_sgd(self) -> tuple[Tensor, Tensor]:
        """Scores of the first batch, before and after a step of SGD with it, which is undone."""
        draws = torch.Generator().manual_seed(2)
        # The mean over a mixed batch weighs each domain's own by its part of the rows.
        rate = 100.0 * (self.count if self.name == STACKED else 1)
        scores: list[list[Tensor]] = [[], []]
        for place, batch in enumerate(self.batches(0, shuffled=False)):
            rows, trained = self.rows[place], self.parameters[place]
            before = [p.detach().clone() for p in trained]
            pairs = rows.users[batch], rows.items[batch]
            loss = self.loss(place, batch, draws)
            with torch.no_grad():
                scores[0].append(self.models[place].score(*pairs))
            loss.backward()
            sgd = torch.optim.SGD(trained, lr=rate)
            sgd.step()
            sgd.zero_grad()
            with torch.no_grad():
                scores[1].append(self.models[place].score(*pairs))
                for parameter, value in zip(trained, before, strict=True):
                    parameter.copy_(value)
        return torch.cat(scores[0]), torch.cat(scores[1])
