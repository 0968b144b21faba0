"""Small trainings that one process does alone, or several together: each of them runs `main`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from lorarec.data.features.table import Bags, FeatureTable
from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import LorarecError, StoreError
from lorarec.launch import Launch
from lorarec.lora.layers import DomainBias
from lorarec.models.base import BaseModel
from lorarec.models.features import FeatureEmbedding
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.storage import read_tensors, write_tensors
from lorarec.training import distributed
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import ALONE, TIMEOUT, Ranks, joined
from lorarec.training.examples import examples_of
from lorarec.training.loop import History, Options, Progress, fit
from lorarec.training.objective import Objective
from lorarec.training.temperature import LearntTemperature
from lorarec.training.validation import RankingValidation

USERS, ITEMS, DIM = 40, 30, 8
ROWS = {"a": 97, "b": 49}
"""Train rows of each domain: one more than whole batches of 16, so that a rank has none of it."""
BASIC = Options(epochs=4, batch_size=16, negatives=12, learning_rate=0.05, averaging=0.5)
IMPATIENT = timedelta(seconds=1)
"""How long a rank waits for one that hangs, in the scenario of that."""
TOWERS = TowerConfig(layers=(8,), history="attention")


@dataclass(frozen=True)
class Case:
    """One way to train."""

    objective: Objective = field(default_factory=lambda: Objective(0))
    options: dict[str, Any] = field(default_factory=dict)
    towers: TowerConfig | None = None
    """Of a two-tower model; None is matrix factorization with a bias for each domain."""
    weighted: bool = False
    learn_temperature: bool = False


CASES = {
    "softmax": Case(options={"clip_norm": 0.5}),
    "softmax over the catalogue": Case(options={"negatives": 99}, learn_temperature=True),
    "softmax in the batch": Case(Objective(0, sampling="in-batch"), weighted=True),
    "bpr": Case(Objective(0, "bpr", "uniform"), {"negatives": 32}, weighted=True),
    "bpr in the batch": Case(Objective(0, "bpr", "in-batch"), {"negatives": 48}),
    "ccl": Case(Objective(0, "ccl", margin=0.2), {"optimizer": "adagrad"}),
    "two-tower": Case(options={"weight_decay": 0.01, "decay": "cosine"}, towers=TOWERS),
}
DROPPED = Case(towers=TOWERS.model_copy(update={"dropout": 0.3, "id_dropout": 0.2}))


def logs() -> Interactions:
    """Seeded rows of two domains, an eighth more of them for validation, some of weight 0."""
    random = np.random.default_rng(3)
    rows = []
    for domain, count in ROWS.items():
        pairs = random.permutation(USERS * ITEMS)[: count + count // 8]
        rows += [
            (str(p // ITEMS), str(p % ITEMS), domain, "train" if n < count else "valid", n % 3)
            for n, p in enumerate(pairs)
        ]
    names = ["user_id", "item_id", "domain", "split", "weight"]
    frame = pl.DataFrame(rows, names, orient="row").with_columns(
        pl.col("weight").cast(pl.Float32), pl.lit(None, pl.Int64).alias("timestamp")
    )
    known = [Vocabulary([str(n) for n in range(count)]) for count in (USERS, ITEMS)]
    return Interactions.from_frame(frame, *known, tuple(ROWS))


def model_of(case: Case, train: Interactions) -> BaseModel:
    """The model at its start."""
    random = torch.Generator().manual_seed(5)
    tables = [torch.randn(count, DIM, generator=random) * 0.3 for count in (USERS, ITEMS)]
    if case.towers is None:
        return MatrixFactorization.from_tables(*tables, "cosine", 0.15)
    codes = np.arange(ITEMS + 1, dtype=np.int32)
    nothing = np.zeros((ITEMS + 1, 1))
    features = FeatureTable(
        codes < ITEMS,
        {"kind": codes % 4},
        {"tags": Bags(np.arange(ITEMS + 2), codes % 5)},
        ("price",),
        (codes[:, None] / ITEMS).astype(np.float32),
        nothing > 0,
        {},
    )
    items = FeatureEmbedding(features, {"kind": 4, "tags": 5}, DIM)
    towers = case.towers
    return TwoTower.from_tables(*tables, "cosine", 0.15, towers, train.csr(), item_features=items)


def trained(
    case: Case,
    ranks: Ranks = ALONE,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    train: Interactions | None = None,
    **options: Any,
) -> tuple[dict[str, Tensor], History]:
    """The parameters after a training, by name, and what happened."""
    whole = logs()
    part = whole.part("train") if train is None else train
    if not case.weighted:
        part = replace(part, weight=np.ones_like(part.weight))
    model, domains = model_of(case, part), list(ROWS)
    models: dict[str, BaseModel] = dict.fromkeys(domains, model)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    examples = examples_of(part, domains)
    for domain in examples if case.towers is None else ():
        bias = DomainBias(None, domain.sampler.items)
        models[domain.name] = model.replaced(bias=bias)
        parameters[f"bias.{domain.name}"] = bias.b
    objective = case.objective
    if case.learn_temperature:
        objective = replace(objective, temperature=LearntTemperature(models.values()))
        assert objective.temperature is not None
        parameters["temperature"] = objective.temperature.theta
    validation = RankingValidation(part, whole.part("valid"), domains)

    def measured() -> dict[str, float]:
        # Under another name, so that no epoch is better than the last and that one is kept.
        return {f"own_{name}": value for name, value in validation(models).items()}

    history = fit(
        models,
        parameters,
        examples,
        replace(BASIC, objective=objective, **{**case.options, **options}),
        measured,
        report,
        checkpoints,
        ranks=ranks,
    )
    return {name: p.detach().clone() for name, p in parameters.items()}, history


@dataclass
class Ended:
    """What every rank of one scenario ended with, by rank."""

    weights: list[dict[str, Tensor]]
    """Empty where it raised."""
    told: list[dict[str, Any]]
    """Metrics by epoch, or the error's kind, words and exit code."""


def together(names: Sequence[str], folder: Path, size: int = 2) -> dict[str, Ended]:
    """Run scenarios of `SCENARIOS` one after the other, in the same processes."""
    ports = [str(port) for port in free_ports(len(names))]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), ",".join(names), ",".join(ports)],
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
            | {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        for process in processes:
            assert (words := process.communicate(timeout=120)[1]) is not None
            assert process.returncode == 0, words
    finally:
        for process in processes:
            process.kill()
    return {name: _ended([_file(folder, name, rank) for rank in range(size)]) for name in names}


def _ended(files: Sequence[Path]) -> Ended:
    arrays = [read_tensors(file) if file.exists() else {} for file in files]
    return Ended(
        [{name: torch.from_numpy(array) for name, array in found.items()} for found in arrays],
        [json.loads(file.with_suffix(".json").read_text()) for file in files],
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _file(folder: Path, name: str, rank: int) -> Path:
    return folder / f"{name}-{rank}.safetensors"


Made = tuple[dict[str, Tensor], History]


class KilledError(Exception):
    """Stands for kill -9 of all ranks."""


def _until(steps: int, then: Callable[[], None]) -> Callable[[Progress], None]:
    done = 0

    def report(progress: Progress) -> None:
        nonlocal done
        done += progress.rows > 0
        if done == steps:
            then()

    return report


def _killed() -> None:
    raise KilledError


def _full_disk() -> None:
    raise StoreError("The disk of this rank is full.")


def _bug() -> None:
    raise KeyError("nothing")


def _broken_off_and_resumed(ranks: Ranks, folder: Path) -> Made:
    """Every rank is killed at step 12; the checkpoint of step 10 is left in `broken-off` too."""
    place, config = folder / "saved", {"data": "d"}
    saving = Checkpoints(place, config, every_steps=5, writes=ranks.first)
    try:
        trained(DROPPED, ranks, saving, _until(12, _killed))
    except KilledError:
        found = Checkpoints(place, config, resume=True, writes=ranks.first)
        return trained(DROPPED, ranks, found)
    raise AssertionError


def _stopped_by_one(ranks: Ranks, folder: Path) -> Made:
    """Rank 1 alone is asked to stop, at step 7."""
    asked: list[bool] = []
    saving = Checkpoints(folder / "stopped", {"data": "d"}, writes=ranks.first)
    saving.stop = lambda: bool(asked)
    report = _until(7, lambda: asked.append(True) if ranks.rank else None)
    weights, history = trained(CASES["softmax"], ranks, saving, report)
    assert history.stopped
    assert saving.saved_step == 7
    return weights, history


def _failing(what: Callable[[], None], at: int) -> Callable[[Ranks, Path], Made]:
    """One rank fails after step 3."""

    def run(ranks: Ranks, _: Path) -> Made:
        report = _until(3, what if ranks.rank == at else lambda: None)
        return trained(CASES["softmax"], ranks, report=report)

    return run


def _diverged(ranks: Ranks, _: Path) -> Made:
    """The share of rank 1 is no number at step 3."""
    loss_of, calls = Objective.__call__, 0

    def broken(*given: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return loss_of(*given) * (torch.nan if ranks.rank == 1 and calls == 3 else 1.0)

    return _with_loss(broken, ranks)


def _out_of_memory(ranks: Ranks, _: Path) -> Made:
    """Rank 1 has no room for its share of a batch of more than 8."""
    loss_of = Objective.__call__

    def full(self: Objective, model: Any, domain: Any, batch: Tensor, *others: Any) -> Tensor:
        if ranks.rank == 1 and len(batch) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss_of(self, model, domain, batch, *others)

    return _with_loss(full, ranks)


def _with_loss(loss: Any, ranks: Ranks) -> Made:
    before = Objective.__call__
    Objective.__call__ = loss  # type: ignore[method-assign]
    try:
        return trained(CASES["softmax"], ranks)
    finally:
        Objective.__call__ = before  # type: ignore[method-assign]


def _hanging(ranks: Ranks, _: Path) -> Made:
    """Rank 1 does not answer for twice as long as rank 0 waits."""
    report = _until(3, lambda: time.sleep(2 * IMPATIENT.total_seconds() if ranks.rank else 0))
    return trained(CASES["softmax"], ranks, report=report)


def _other_rows(ranks: Ranks, _: Path) -> Made:
    part = logs().part("train")
    return trained(CASES["softmax"], ranks, train=part.where(np.arange(len(part)) != ranks.rank))


SCENARIOS: dict[str, Callable[[Ranks, Path], Made]] = {
    **{name: (lambda ranks, _, case=case: trained(case, ranks)) for name, case in CASES.items()},
    "dropout": lambda ranks, _: trained(DROPPED, ranks),
    "broken off and resumed": _broken_off_and_resumed,
    "stopped by one": _stopped_by_one,
    "rank 1 fails": _failing(_full_disk, 1),
    "rank 0 fails": _failing(_full_disk, 0),
    "rank 1 has a bug": _failing(_bug, 1),
    "diverged": _diverged,
    "out of memory": _out_of_memory,
    "other rows": _other_rows,
    "rank 1 hangs": _hanging,
}


def main(folder: Path, names: Sequence[str], ports: Sequence[str]) -> None:
    """Run scenarios as the rank that the environment says, and write what each ended with."""
    torch.set_num_threads(1)
    distributed.GRACE = 0.0
    launch = Launch(*(int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    for name, port in zip(names, ports, strict=True):
        os.environ["MASTER_PORT"] = port
        weights: dict[str, Tensor] = {}
        try:
            with joined(launch, IMPATIENT if "hangs" in name else TIMEOUT) as ranks:
                weights, history = SCENARIOS[name](ranks, folder)
            told: dict[str, Any] = {"epochs": history.epochs}
        except LorarecError as error:
            told = {"kind": type(error).__name__, "text": str(error), "code": error.exit_code}
        except KeyError as error:
            told = {"kind": "KeyError", "text": str(error)}
        file = _file(folder, name, launch.rank)
        if weights:
            write_tensors(file, {n: t.numpy() for n, t in weights.items()})
        file.with_suffix(".json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(","))
