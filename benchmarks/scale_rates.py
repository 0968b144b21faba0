"""What one worker does in how many seconds and bytes: the measured half of `scale.py`."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.common import say
from benchmarks.made_artefacts import made_base
from benchmarks.scale_worker import made_rows
from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import AdapterConfig
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.distributed import ALONE
from lorarec.training.examples import examples_of
from lorarec.training.hybrid import HybridOptimizer, OptimizerName
from lorarec.training.loop import Options, Training, fit
from lorarec.training.objective import Objective
from lorarec.training.state import captured
from lorarec.training.validation import RankingValidation

WORKER = Path(__file__).with_name("scale_worker.py")
DIM, NEGATIVES, RANK = 128, 4096, 8
"""d and negatives a step as [train] has them; the rank of an adapter."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    users: int = 200_000
    items: int = 100_000
    batch: int = 4096
    steps: int = 5
    start: int = 500_000
    """Interactions of the start and of the data in memory."""
    domain: int = 20_000
    """Interactions of the adapter's domain."""
    catalogue: int = 10_000
    """Its items, as many as validation ranks too."""


QUICK = Sizes(4_000, 6_000, 512, 2, 20_000, 4_000, 5_000)


@dataclass(frozen=True)
class Rates:
    """Of one thread of this machine; seconds are the processor's."""

    product: float
    """Floating-point operations a second of a matrix product."""
    copy: float
    """Bytes a second that a copy reads and writes."""
    pair: float
    """Seconds for a row and a negative, forward and backward, beside the products."""
    row: float
    """Seconds for a touched row in the optimiser."""
    overhead: float
    """Seconds of a step that has next to nothing to compute."""
    kept: dict[str, float]
    """Bytes of a row, by optimiser: weights, best, average and the optimiser's."""
    optimizer: dict[str, float]
    """Bytes of a row that are the optimiser's."""
    example: float
    """Bytes of an interaction on the device."""
    host: float
    """Bytes of an interaction in the memory of a process."""
    start_seconds: float
    """Of the spectral start, an interaction."""
    start_bytes: float
    """Its largest memory, an interaction."""
    ranked: float
    """Seconds of validation for a user and an item."""
    adapter: float
    """Seconds of an adapter's training, an interaction and epoch."""
    adapter_bytes: float
    """Of an adapter, a touched row."""
    word: float
    """Seconds until two workers know what each of them said."""
    words: dict[bool, float]
    """How often a step of whole and of sharded tables asks for that."""
    traffic: dict[bool, float]
    """Bytes that one of two workers receives in a step."""
    touched: dict[bool, float]
    """Distinct rows of tables that its share of a step touches."""
    held: dict[bool, float]
    """Bytes of tables and optimiser on one of two workers."""


def measured(own: Sizes) -> Rates:
    """All rates, in about two minutes."""
    torch.set_num_threads(1)
    product, copy = _machine()
    say("steps of one worker")
    pair, row = _step(own, product)
    overhead = sum(_step_seconds(Sizes(1000, 1000, batch=8, steps=20), 8))
    say("memory of rows, interactions and the start")
    kept, optimizer = _kept("adam"), _kept("adagrad")
    example, host = _data(own.start)
    start = _said(["start", str(own.start), str(DIM)], 1)[0]
    say("validation and an adapter")
    ranked, (adapter, adapter_bytes) = _validation(own), _adapter(own)
    say("two workers")
    arms = {sharded: _together(own, sharded) for sharded in (False, True)}
    return Rates(
        product,
        copy,
        pair,
        row,
        overhead,
        {"adam": kept[0], "adagrad": optimizer[0]},
        {"adam": kept[1], "adagrad": optimizer[1]},
        example,
        host,
        start["seconds"] / own.start,
        start["bytes"] / own.start,
        ranked,
        adapter,
        adapter_bytes,
        min(arm["word_seconds"] for arm in arms.values()),
        {sharded: arm["words"] for sharded, arm in arms.items()},
        {sharded: arm["bytes"] for sharded, arm in arms.items()},
        {sharded: arm["touched"] for sharded, arm in arms.items()},
        {sharded: arm["parameter_bytes"] + arm["optimizer_bytes"] for sharded, arm in arms.items()},
    )


def _machine() -> tuple[float, float]:
    """Operations a second of a product, bytes a second of a copy: the best of five."""
    left, right = torch.randn(2048, DIM), torch.randn(DIM, NEGATIVES)
    source = torch.randn(2**24)
    into = torch.empty_like(source)
    operations, moved = 2 * 2048 * DIM * NEGATIVES, 2 * source.numel() * 4
    product = min(_seconds(lambda: left @ right) for _ in range(5))
    copy = min(_seconds(lambda: into.copy_(source)) for _ in range(5))
    return operations / product, moved / copy


def _seconds(run: Callable[[], object]) -> float:
    clock = time.process_time()
    run()
    return time.process_time() - clock


def _step_seconds(own: Sizes, negatives: int) -> tuple[float, float]:
    """Of a step: forward and backward, and the optimiser; medians."""
    model = MatrixFactorization.create(own.users, own.items, DIM)
    logs = made_rows(own.users, own.items, own.batch * (own.steps + 1))
    objective, optimizer = Objective(negatives), HybridOptimizer(dict(model.named_parameters()))
    drawn, parts = torch.Generator().manual_seed(0), []
    for batch in torch.split(torch.arange(len(logs)), own.batch):
        optimizer.zero_grad()
        ahead = _seconds(lambda b=batch: objective(model, logs, b, drawn).backward())  # type: ignore[misc]
        parts.append((ahead, _seconds(optimizer.step)))
    # The first step makes the optimiser's state.
    return tuple(statistics.median(part) for part in zip(*parts[1:], strict=True))  # type: ignore[return-value]


def _step(own: Sizes, product: float) -> tuple[float, float]:
    ahead, moving = _step_seconds(own, NEGATIVES)
    rest = ahead - operations(own.batch) / product
    return max(rest, 0.0) / (own.batch * NEGATIVES), moving / touched(own.batch)


def operations(rows: float) -> float:
    """Floating-point operations of a step's products: scores, and both ways back."""
    return 6 * rows * NEGATIVES * DIM


def touched(rows: float) -> float:
    """Rows of tables that a share of so many interactions touches, where none repeats."""
    return 2 * rows + NEGATIVES


def _kept(name: OptimizerName) -> tuple[float, float]:
    """Bytes of a row: weights, best, average and optimiser; and the optimiser's alone."""
    users, items = 200, 100
    model, logs = MatrixFactorization.create(users, items, DIM), made_rows(users, items, 4000)
    options = Options(2, 1000, 50, 1e-3, averaging=0.5, optimizer=name)
    training = Training(
        {"one": model}, dict(model.named_parameters()), [logs], options,
        dict, lambda _: None, None, lambda _: None, ALONE,
    )  # fmt: skip
    training.run()
    sizes = {n: t.numel() * t.element_size() for n, t in captured(training)[0].items()}
    own = {n: size for n, size in sizes.items() if not n.startswith("random/")}
    moments = sum(size for n, size in own.items() if n.startswith("optimizer/"))
    return sum(own.values()) / (users + items), moments / (users + items)


def _data(rows: int) -> tuple[float, float]:
    """Bytes of an interaction: as the device has it, and as a process has it besides."""
    users, items = rows // 10, rows // 100
    logs = made_rows(users, items, rows)
    frame = pl.DataFrame(
        {
            "user_id": [f"user-{n:09d}" for n in logs.users.tolist()],
            "item_id": [f"item-{n:08d}" for n in logs.items.tolist()],
            "domain": pl.Series(["one"], dtype=pl.String).new_from_index(0, rows),
            "timestamp": logs.users,
            "weight": np.ones(rows, np.float32),
            "split": pl.Series(["train"], dtype=pl.String).new_from_index(0, rows),
        }
    )
    known = [Vocabulary().extend(frame[name]) for name in ("user_id", "item_id")]
    indexed = Interactions.from_frame(frame, *known, ["one"])
    (examples,) = examples_of(indexed, ["one"])
    arrays = (indexed.user, indexed.item, indexed.domain_index, indexed.weight)
    arrays += (indexed.timestamp, indexed.split_index)
    tensors = (examples.users, examples.items, examples.places)
    host = frame.estimated_size() + sum(array.nbytes for array in arrays)
    return sum(t.numel() * t.element_size() for t in tensors) / rows, host / rows


def _validation(own: Sizes) -> float:
    users, items = 1024, own.catalogue
    logs = made_rows(users, items, 20 * users)
    known = [Vocabulary([str(n) for n in range(count)]) for count in (users, items)]
    whole = np.arange(len(logs))
    every = Interactions(
        known[0], known[1], ("one",), ("train",), logs.users.numpy(), logs.items.numpy(),
        np.zeros(len(logs), np.int16), np.ones(len(logs), np.float32), whole,
        np.zeros(len(logs), np.int16),
    )  # fmt: skip
    held = np.zeros(len(logs), bool)
    held[np.unique(logs.users.numpy(), return_index=True)[1]] = True
    model = MatrixFactorization.create(users, items, DIM)
    check = RankingValidation(every.where(~held), every.where(held), ["one"])
    catalogue = len(np.unique(every.where(~held).item))
    return _seconds(lambda: check({"one": model})) / (len(check) * catalogue)


def _adapter(own: Sizes) -> tuple[float, float]:
    """Seconds an interaction and epoch; bytes a touched row."""
    users, items = own.domain // 10, own.catalogue
    model = made_base(users, items, DIM).model
    logs = made_rows(users, items, own.domain)
    nobody = torch.empty(0, DIM)
    config = AdapterConfig(ranks={"users": RANK, "items": RANK, "transform": RANK})
    rows = Touched(torch.arange(users), torch.arange(items), nobody, nobody, torch.arange(items))
    adapted = attach(model, config, rows)
    parameters = adapter_parameters(adapted)
    options = Options(1, 1024, NEGATIVES, 1e-3)
    seconds = _seconds(lambda: fit({"one": adapted}, parameters, [logs], options, dict))
    size = sum(p.numel() * p.element_size() for p in parameters.values())
    return seconds / own.domain, size / (users + items)


def _together(own: Sizes, sharded: bool) -> dict[str, float]:
    """What the first of two workers says."""
    sizes = (own.users, own.items, own.batch, NEGATIVES, DIM, own.steps)
    return _said(["train", str(int(sharded)), *map(str, sizes)], 2)[0]


def received(rows: float, ranks: int, sharded: bool) -> float:
    """Bytes that one of several workers receives in a step.

    Of whole tables: numbers (8 bytes) and gradients of what each other rank has touched. Of shards:
    numbers and gradients of own rows that others touched, vectors of what it asked others for.

    Args:
        rows: Distinct rows of tables that the share of each touches.
        ranks: How many workers there are.
        sharded: Whether tables lie in shards.
    """
    if not sharded:
        return (ranks - 1) * rows * (8 + 4 * DIM)
    return (ranks - 1) / ranks * rows * (8 + 2 * 4 * DIM)


def _said(command: list[str], ranks: int) -> list[dict[str, float]]:
    """What each of several workers prints."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
    workers = []
    for rank in range(ranks):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        workers.append(
            subprocess.Popen(
                [sys.executable, str(WORKER), *command],
                env={**os.environ, **own},
                stdout=subprocess.PIPE,
            )
        )
    found = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise RuntimeError(f"A worker of {' '.join(command)} failed.")
    return [json.loads(text) for text in found]
