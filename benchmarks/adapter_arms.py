"""What takes one training step of an item table's adapter: ours, PEFT's, and sparse training.

The base is a matrix factorization of random numbers. Users are frozen; the item table of V rows is
adapted or trained. A batch's items are drawn by Zipf's law and its users alike. The loss is BPR
with one negative a row, drawn by popularity, and it is the same code for all: lorarec's `Objective`
over a `MatrixFactorization`, in which the module for items is ours, PEFT's or a plain table.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import AdapterConfig
from lorarec.models.base import BaseModel
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import DomainExamples
from lorarec.training.hybrid import HybridOptimizer
from lorarec.training.negatives import CatalogueSampler
from lorarec.training.objective import Loss, Objective

DIM, RANK, BATCH, USERS = 64, 8, 4096, 100_000
RATE = 0.01
OURS = ("lorarec", "lorarec, all rows")
PEFT = ("PEFT, Adam", "PEFT, fused Adam")
FULL = ("lorarec, full rows", "torch SparseAdam, full rows")
ARMS = (*OURS, *PEFT, *FULL)


@dataclass(frozen=True)
class World:
    """A base, and the log of one domain over it.

    Attributes:
        rows: V, of the item table.
        steps: Batches that the log holds.
        all_rows: Whether the domain touches every row of the table, and not those of its log alone.
    """

    rows: int
    steps: int
    all_rows: bool = False

    def base(self) -> MatrixFactorization:
        """The frozen base, without a second copy of its tables on the way."""
        drawn = torch.Generator().manual_seed(0)
        tables = [torch.empty(n, DIM).normal_(0, 0.1, generator=drawn) for n in (USERS, self.rows)]
        return MatrixFactorization.from_tables(*tables, "dot", 1.0).requires_grad_(False)

    def log(self, seed: int = 1, batch: int = BATCH) -> DomainExamples:
        """Rows in the order of the batches, of so many rows each; another domain for each seed."""
        drawn = torch.Generator().manual_seed(seed)
        items = zipf(self.rows, self.steps * batch, drawn)
        users = torch.randint(USERS, (len(items),), generator=drawn)
        catalogue, counts = torch.unique(items, return_counts=True)
        if self.all_rows:
            counts = torch.bincount(items, minlength=self.rows) + 0.1
            catalogue = torch.arange(self.rows)
        return DomainExamples("one", users, items, None, CatalogueSampler(catalogue, counts))


def zipf(rows: int, count: int, generator: torch.Generator) -> Tensor:
    """Rows drawn with probability ∝ 1 / rank, ranks being spread over the table: int64 (count,)."""
    cumulative = (1 / torch.arange(1, rows + 1, dtype=torch.float64)).cumsum(0)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    ranks = torch.searchsorted(cumulative, uniform).clamp(max=rows - 1)
    return torch.randperm(rows, generator=generator)[ranks]


def adapted(base: MatrixFactorization, touched: Tensor, kind: str = "lora") -> BaseModel:
    """Our adapter on the items: row LoRA, or full rows for comparison."""
    none, no_vectors = torch.empty(0, dtype=torch.int64), torch.empty(0, DIM)
    shape: dict[str, Any] = {"ranks": {"items": RANK}} if kind == "lora" else {"kind": "full"}
    config = AdapterConfig(bias=False, **shape)
    return attach(base, config, Touched(none, touched, no_vectors, no_vectors, none))


def with_peft(base: MatrixFactorization, names: tuple[str, ...] = ("default",)) -> BaseModel:
    """PEFT's LoRA on the items, one or several by name, with our scale and initial B.

    PEFT's table has dense gradients: where the base's are sparse, its backward pass fails.

    Raises:
        ImportError: PEFT is not installed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    table = nn.Embedding.from_pretrained(base.items.weight.detach())
    model = base.replaced(items=table)
    config = LoraConfig(r=RANK, lora_alpha=1, use_rslora=True, target_modules=["items"])
    b = adapted(base, torch.zeros(1, dtype=torch.int64)).items.b.detach().T
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are several is meant
            inject_adapter_in_model(config, model, name)
        with torch.no_grad():
            model.items.lora_embedding_B[name].copy_(b)
    return model


class Arm:
    """A model with what is trained of it; each call of `step` takes the next batch of the log."""

    def __init__(self, name: str, world: World, loss: Loss = "bpr", negatives: int = BATCH) -> None:
        self.name, self.log = name, world.log()
        self.touched = len(self.log.sampler)
        self.objective = Objective(negatives, loss)
        self.model, self.parameters = self._made(world.base())
        _ = self.log.places, self.log.known  # as every step but the first finds them
        self.draws, self.done = torch.Generator().manual_seed(2), 0
        self._zero, self._move = self._optimizer()

    def _made(self, base: MatrixFactorization) -> tuple[BaseModel, Mapping[str, nn.Parameter]]:
        if self.name in PEFT:
            model = with_peft(base)
            trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
            return model, trained
        if self.name == FULL[1]:
            base.items.requires_grad_(True)
            return base, {"items": base.items.weight}
        kind = "full" if self.name == FULL[0] else "lora"
        model = adapted(base, self.log.sampler.items, kind)
        return model, adapter_parameters(model)

    def _optimizer(self) -> tuple[Callable[[], None], Callable[[], object]]:
        if self.name in PEFT or self.name == FULL[1]:
            trained = list(self.parameters.values())
            optimizer: torch.optim.Optimizer
            if self.name == FULL[1]:
                optimizer = torch.optim.SparseAdam(trained, lr=RATE)
            else:
                optimizer = torch.optim.Adam(trained, lr=RATE, fused=self.name == PEFT[1] or None)
            return optimizer.zero_grad, optimizer.step
        own = HybridOptimizer(self.parameters, lr=RATE)
        return own.zero_grad, own.step

    def step(self) -> float:
        """A whole step on the next batch; milliseconds of processor time."""
        batch = torch.arange(self.done * BATCH, (self.done + 1) * BATCH)
        self.done += 1
        started = time.process_time()
        self._zero()
        loss = self.objective(self.model, self.log, batch, self.draws)
        loss.backward()
        self._move()
        return (time.process_time() - started) * 1e3

    def after_sgd(self) -> tuple[Tensor, Tensor]:
        """Scores of the first batch, before and after a step of SGD with it, which is undone."""
        before = {name: p.detach().clone() for name, p in self.parameters.items()}
        batch, draws = torch.arange(BATCH), torch.Generator().manual_seed(2)
        pairs = self.log.users[:BATCH], self.log.items[:BATCH]
        sgd = torch.optim.SGD(self.parameters.values(), lr=100.0)
        with torch.no_grad():
            first = self.model.score(*pairs)
        self.objective(self.model, self.log, batch, draws).backward()
        sgd.step()
        sgd.zero_grad()
        with torch.no_grad():
            then = self.model.score(*pairs)
            for name, value in before.items():
                self.parameters[name].copy_(value)
        return first, then
