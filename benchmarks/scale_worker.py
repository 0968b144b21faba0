"""One worker of `scale.py`, in a process of its own; what it prints is JSON.

    python benchmarks/scale_worker.py start INTERACTIONS DIM
    python benchmarks/scale_worker.py train SHARDED USERS ITEMS BATCH NEGATIVES DIM STEPS

The first makes a base's start and says its seconds and how much memory it took at most. The second
is one of the processes that train together, as the variables of torchrun say, and counts what goes
between them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from scipy import sparse
from torch import Tensor

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from lorarec.launch import launched
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.distributed import Ranks, joined
from lorarec.training.examples import DomainExamples
from lorarec.training.loop import Options, Training
from lorarec.training.negatives import CatalogueSampler
from lorarec.training.objective import Objective
from lorarec.training.sharded_table import handed_out
from lorarec.training.spectral import spectral_tables
from lorarec.training.state import captured


def made_rows(users: int, items: int, rows: int, seed: int = 0) -> DomainExamples:
    """Interactions of one domain: users alike, items by Zipf's law, every item in the catalogue."""
    drawn = torch.Generator().manual_seed(seed)
    share = (1 / torch.arange(1, items + 1, dtype=torch.float64)).cumsum(0)
    uniform = torch.rand(rows, generator=drawn, dtype=torch.float64) * share[-1]
    item = torch.searchsorted(share, uniform).clamp(max=items - 1)
    counts = torch.bincount(item, minlength=items) + 1
    sampler = CatalogueSampler(torch.arange(items), counts)
    user = torch.randint(users, (rows,), generator=drawn)
    return DomainExamples("one", user, item, None, sampler)


def started(interactions: int, dim: int) -> dict[str, float]:
    """Of the spectral start, with ten interactions a user and a hundred an item."""
    users, items = interactions // 10, interactions // 100
    logs = made_rows(users, items, interactions)
    pairs = sparse.csr_matrix(
        (np.ones(interactions, np.float32), (logs.users.numpy(), logs.items.numpy())),
        shape=(users, items),
    )
    before, clock = _memory("VmRSS"), time.process_time()
    spectral_tables(pairs, dim, 0)
    return {"seconds": time.process_time() - clock, "bytes": _memory("VmHWM") - before}


def _memory(kind: str) -> float:
    """Bytes resident now (VmRSS) or at most (VmHWM); Linux tells.

    What `getrusage` says of the most is that of the process that started this one, if it had more.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(kind))) * 1024


class Traffic:
    """Counts what this rank receives of others, by wrapping torch's calls."""

    def __init__(self, ranks: Ranks) -> None:
        self.bytes, self.words, self.touched, self.others = 0, 0, 0, ranks.size - 1
        self.rank = ranks.rank
        gather, deal = dist.all_gather, dist.all_to_all_single

        def all_gather(found: list[Tensor], own: Tensor, **named: Any) -> Any:
            if own.dtype == torch.float64:  # what ranks say of themselves before they send
                self.words += 1
            self.touched += own.numel() * (own.dtype == torch.int64)
            self.bytes += self.others * own.numel() * own.element_size()
            return gather(found, own, **named)

        def all_to_all(
            found: Tensor, own: Tensor, received: list[int], sent: list[int], **named: Any
        ) -> Any:
            self.touched += len(own) * (own.dtype == torch.int64)
            of_others = sum(received) - received[self.rank]
            width = found.numel() // max(len(found), 1)
            self.bytes += of_others * width * found.element_size()
            return deal(found, own, received, sent, **named)

        dist.all_gather, dist.all_to_all_single = all_gather, all_to_all

    @property
    def count(self) -> tuple[int, int, int]:
        """Bytes received, words of all ranks to all, rows of tables that were named, so far."""
        return self.bytes, self.words, self.touched


def trained(
    sharded: bool, users: int, items: int, batch: int, negatives: int, dim: int, steps: int
) -> dict[str, float]:
    """Of an epoch of so many steps: what a step sends, and what a rank holds."""
    logs = made_rows(users, items, batch * steps)
    with joined(launched()) as ranks:
        model = MatrixFactorization.create(users, items, dim)
        if sharded:
            tables = [model.users.weight.detach(), model.items.weight.detach()]  # type: ignore[union-attr]
            model = model.replaced(
                users=handed_out(tables[0], users, dim, ranks),  # type: ignore[arg-type]
                items=handed_out(tables[1], items, dim, ranks),  # type: ignore[arg-type]
            )
        options = Options(1, batch, negatives, 1e-3, objective=Objective(negatives))
        traffic, after = Traffic(ranks), list[tuple[int, int, int]]()
        training = Training(
            {"one": model}, dict(model.named_parameters()), [logs], options, dict,
            lambda told: after.append(traffic.count) if told.rows else None,
            None, lambda _: None, ranks,
        )  # fmt: skip
        training.run()
        # Of the steps after the first: before it the ranks say that they train the same.
        totals = [last - first for first, last in zip(after[0], after[-1], strict=True)]
        names = ("bytes", "words", "touched")
        found = {n: total / (steps - 1) for n, total in zip(names, totals, strict=True)}
        found |= held(training)
        # Beside other work a word waits for a core: the quickest are what the network costs.
        return found | {"word_seconds": sorted(_word(ranks) for _ in range(200))[20]}


def _word(ranks: Ranks) -> float:
    clock = time.perf_counter()
    ranks.numbers([0.0] * 4)
    return time.perf_counter() - clock


def held(training: Training) -> dict[str, float]:
    """Bytes that a rank holds of tables, and of their optimiser."""
    tensors, _ = captured(training)
    sizes = {name: float(t.numel() * t.element_size()) for name, t in tensors.items()}
    return {
        f"{kind}_bytes": sum(size for name, size in sizes.items() if name.startswith(f"{kind}/"))
        for kind in ("parameter", "optimizer")
    }


def main() -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    work, *numbers = sys.argv[1:]
    if work == "start":
        found = started(*map(int, numbers))
    else:
        sharded, *sizes = map(int, numbers)
        found = trained(bool(sharded), *sizes)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
