"""Speed of training on one CPU thread: rows a second against a plain torch loop, steps against V.

    python benchmarks/training.py [--json FILE] [--quick | --full]

Three tables are printed. The first trains one epoch of BPR with one negative a row, on made logs of
the size of Gowalla, with lorarec's own loop and with a loop as tutorials write it: a `Dataset` that
draws a negative for each row, a `DataLoader`, two `nn.Embedding` and `torch.optim.Adam`. The second
looks up the same number of rows in tables of 1e5, 1e6 and 1e7 rows and takes one step. What is
compared there is run in turns in one process, and a ratio is the median of the rounds' ratios. The
third, where Gowalla is, is of `time_to_quality.py`. Times are the processor's, one thread, so that
other work on the machine counts for nothing.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Measures, find_data, header, parser, say, table
from benchmarks.time_to_quality import NAME, time_to_quality
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import DomainExamples
from lorarec.training.hybrid import HybridOptimizer, OptimizerName
from lorarec.training.loop import Options, fit
from lorarec.training.negatives import CatalogueSampler
from lorarec.training.objective import Objective

USERS, ITEMS, ROWS, DIM, BATCH = 29_858, 40_981, 810_128, 64, 2048
"""Users, items and train rows of Gowalla, d, rows a step."""
LOOKED_UP, STEP_DIM = 4096, 32
"""Rows of a table that a step touches, and their length."""


def made_logs(rows: int, seed: int = 0) -> DomainExamples:
    """Rows of uniform users and items by a power law; distinct pairs."""
    generator = torch.Generator().manual_seed(seed)
    popularity = torch.arange(1, ITEMS + 1).double() ** -0.7
    items = torch.multinomial(popularity, rows, replacement=True, generator=generator)
    users = torch.randint(USERS, (rows,), generator=generator)
    pairs = torch.unique(torch.stack([users, items], 1), dim=0)
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    users, items = pairs.T.contiguous()
    catalogue, counts = torch.unique(items, return_counts=True)
    return DomainExamples("made", users, items, None, CatalogueSampler(catalogue, counts, 0.0))


class TutorialRows(Dataset[tuple[int, int, int]]):
    """A row, and an item that its user does not have, drawn when the row is asked for."""

    def __init__(self, users: Sequence[int], items: Sequence[int]) -> None:
        self.users, self.items = users, items
        self.known: dict[int, set[int]] = {}
        for user, item in zip(users, items, strict=True):
            self.known.setdefault(user, set()).add(item)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, place: int) -> tuple[int, int, int]:
        user = self.users[place]
        negative = random.randrange(ITEMS)
        while negative in self.known[user]:
            negative = random.randrange(ITEMS)
        return user, self.items[place], negative


def tutorial_epoch(logs: DomainExamples) -> float:
    """Rows a second of the plain loop, from the first batch to the last."""
    data = TutorialRows(logs.users.tolist(), logs.items.tolist())
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)
    users, items = nn.Embedding(USERS, DIM), nn.Embedding(ITEMS, DIM)
    optimizer = torch.optim.Adam([*users.parameters(), *items.parameters()], lr=1e-3)
    started = time.process_time()
    for user, positive, negative in loader:
        vectors = users(user)
        better = (vectors * items(positive)).sum(-1)
        worse = (vectors * items(negative)).sum(-1)
        loss = -functional.logsigmoid(better - worse).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(data) / (time.process_time() - started)


def own_epoch(logs: DomainExamples, name: OptimizerName) -> float:
    """Rows a second of `fit`, the copies that it takes before and after the epoch included."""
    model = MatrixFactorization.create(USERS, ITEMS, DIM, similarity="dot")
    options = Options(1, BATCH, BATCH, 1e-3, objective=Objective(0, "bpr"), optimizer=name)
    _ = logs.known  # as a second epoch finds it
    started = time.process_time()
    fit({"made": model}, dict(model.named_parameters()), [logs], options, dict)
    return len(logs) / (time.process_time() - started)


def rows_a_second(rows: int, rounds: int, measures: Measures) -> None:
    """One epoch of BPR by each, in turns."""
    logs = made_logs(rows)
    runs: dict[str, Callable[[], float]] = {
        "plain torch loop": lambda: tutorial_epoch(logs),
        "lorarec, row Adam": lambda: own_epoch(logs, "adam"),
        "lorarec, row Adagrad": lambda: own_epoch(logs, "adagrad"),
    }
    own_epoch(made_logs(BATCH * 4), "adam")  # warm
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        say(f"rows a second: round {number + 1} of {rounds}")
        for name, run in runs.items():
            found[name].append(run())
    plain = found["plain torch loop"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, plain, strict=True))
        for name, values in found.items()
    }
    table(
        f"One epoch of BPR, {len(logs):,} rows, d = {DIM}, batches of {BATCH}, 1 negative a row",
        ["loop", "rows a second", "over plain"],
        [(name, round(statistics.median(v)), f"{ratios[name]:.1f}x") for name, v in found.items()],
    )
    measures.add(
        "rows_vs_naive_torch",
        ratios["lorarec, row Adam"],
        "ratio",
        "plain torch loop",
        ratios["lorarec, row Adam"],
    )
    measures.add("rows_ours_per_s", statistics.median(found["lorarec, row Adam"]), "rows/s")
    measures.add("rows_peer_per_s", statistics.median(plain), "rows/s", "plain torch loop")


class Stepping:
    """A table and an optimiser; each call looks up rows drawn alike from all and takes a step."""

    def __init__(self, rows: int, peer: str) -> None:
        self.generator = torch.Generator().manual_seed(rows)
        self.rows, self.peer = rows, peer
        self.weight = nn.Parameter(torch.full((rows, STEP_DIM), 0.1))
        self.step_with: Callable[[], object]
        if peer == "dense Adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam([self.weight], lr=0.01)
        elif peer == "SparseAdam":
            self.optimizer = torch.optim.SparseAdam([self.weight], lr=0.01)
        else:
            name: OptimizerName = "adagrad" if "Adagrad" in peer else "adam"
            own = HybridOptimizer({"table": self.weight}, name, lr=0.01)
            self.step_with = own.step
            self()
            for value in own.state_dict().values():
                value.mul_(1)  # the system hands memory out at the first touch, in an epoch too
            return
        self.step_with = self.optimizer.step
        self()

    def __call__(self) -> float:
        """Milliseconds of lookup, backward and step."""
        rows = torch.randint(self.rows, (LOOKED_UP,), generator=self.generator)
        pull = torch.randn(LOOKED_UP, STEP_DIM, generator=self.generator)
        self.weight.grad = None
        started = time.process_time()
        sparse = self.peer != "dense Adam"
        (functional.embedding(rows, self.weight, sparse=sparse) * pull).sum().backward()
        self.step_with()
        return (time.process_time() - started) * 1e3


def step_times(sizes: Sequence[int], steps: int, measures: Measures) -> None:
    """Steps on tables of all sizes in turns; peers one after the other, as they need the memory."""
    shown: list[tuple[object, ...]] = []
    for peer in ("lorarec, row Adam", "lorarec, row Adagrad", "SparseAdam", "dense Adam"):
        say(f"step time: {peer}")
        tables = [Stepping(rows, peer) for rows in sizes]
        count = 3 if peer == "dense Adam" else steps
        times: list[list[float]] = [[] for _ in sizes]
        for _ in range(count):
            for place, each in enumerate(tables):
                times[place].append(each())
        medians = [statistics.median(own) for own in times]
        over = medians[-1] / medians[0]
        shown.append((peer, *(f"{ms:.2f}" for ms in medians), f"{over:.2f}x"))
        if peer == "lorarec, row Adam":
            if (sizes[0], sizes[-1]) == (100_000, 10_000_000):
                measures.add("step_v1e7_over_v1e5", over, "ratio")
            else:
                measures.leave_out("step_v1e7_over_v1e5", "--quick has smaller tables")
            ours = medians
        elif peer in ("SparseAdam", "dense Adam"):
            name = peer.lower().replace(" ", "_")
            measures.add(f"step_vs_{name}", medians[-1] / ours[-1], "ratio", peer)
        del tables
        gc.collect()
    table(
        f"ms a step that touches {LOOKED_UP:,} rows of V, d = {STEP_DIM}",
        ["optimiser", *(f"V = {rows:.0e}".replace("e+0", "e") for rows in sizes), "last / first"],
        shown,
    )


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    torch.manual_seed(0)
    header("Training speed, one thread")
    measures = Measures()
    rounds = 1 if options.quick else (5 if options.full else 3)
    rows_a_second(20_000 if options.quick else ROWS, rounds, measures)
    sizes = (10_000, 100_000) if options.quick else (100_000, 1_000_000, 10_000_000)
    step_times(sizes, 5 if options.quick else 60, measures)
    if find_spec("recbole") is None:
        measures.leave_out("rows_vs_recbole", "RecBole is not installed here")
    else:
        measures.leave_out("rows_vs_recbole", "RecBole is installed, and this script lacks its arm")
    if find_data("gowalla_m1") is None:
        measures.leave_out(NAME, "LORAREC_DATA has no folder gowalla_m1")
    else:
        time_to_quality(options.work, options.quick, measures)
    if not torch.cuda.is_available():
        measures.leave_out("gpu_*", "there is no GPU here")
    measures.finish(options.json)


if __name__ == "__main__":
    main()
