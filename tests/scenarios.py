"""What may happen to a training by several processes, each of which runs `main`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranks import CASES, DROPPED, SHARDED, Case, logs, trained
from torch import Tensor

from lorarec.errors import LorarecError, StoreError
from lorarec.launch import Launch
from lorarec.storage import read_tensors, write_tensors
from lorarec.training import distributed, sharded_table
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import TIMEOUT, Ranks, joined
from lorarec.training.loop import History, Progress
from lorarec.training.objective import Objective

IMPATIENT = timedelta(seconds=1)
"""How long a rank waits for one that hangs, in the scenario of that."""


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


def _failing(
    what: Callable[[], None], at: int, case: Case = CASES["softmax"]
) -> Callable[[Ranks, Path], Made]:
    """One rank fails after step 3."""

    def run(ranks: Ranks, _: Path) -> Made:
        report = _until(3, what if ranks.rank == at else lambda: None)
        return trained(case, ranks, report=report)

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


def _sharded_out_of_memory(ranks: Ranks, _: Path) -> Made:
    """Rank 1 runs out of memory before it asks for a row."""
    loss_of = Objective.__call__

    def full(*given: Any) -> Tensor:
        if ranks.rank == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss_of(*given)

    return _with_loss(full, ranks, SHARDED["sharded softmax"])


def _with_loss(loss: Any, ranks: Ranks, case: Case = CASES["softmax"]) -> Made:
    before = Objective.__call__
    Objective.__call__ = loss  # type: ignore[method-assign]
    try:
        return trained(case, ranks)
    finally:
        Objective.__call__ = before  # type: ignore[method-assign]


def _hanging(ranks: Ranks, _: Path) -> Made:
    """Rank 1 does not answer for twice as long as rank 0 waits."""
    report = _until(3, lambda: time.sleep(2 * IMPATIENT.total_seconds() if ranks.rank else 0))
    return trained(CASES["softmax"], ranks, report=report)


def _slow_start(ranks: Ranks, _: Path) -> Made:
    """Rank 0 makes for twice as long as others wait for an answer what they wait for."""

    def start() -> str:
        time.sleep(2 * IMPATIENT.total_seconds())
        return "made"

    assert ranks.awaited(start, every=0.2) == ("made" if ranks.first else None)
    return trained(CASES["softmax"], ranks, epochs=1)


def _other_rows(ranks: Ranks, _: Path) -> Made:
    part = logs().part("train")
    return trained(CASES["softmax"], ranks, train=part.where(np.arange(len(part)) != ranks.rank))


def _sharded_and_resumed(ranks: Ranks, folder: Path) -> Made:
    """Every rank is killed at step 18 of a training in shards; it goes on from step 15's."""
    case, place, config = SHARDED["sharded softmax"], folder / "shards", {"data": "d"}
    saving = Checkpoints(place, config, every_steps=5, writes=ranks.first)
    try:
        trained(case, ranks, saving, _until(18, _killed))
    except KilledError:
        found = Checkpoints(place, config, resume=True, writes=ranks.first)
        return trained(case, ranks, found)
    raise AssertionError


SCENARIOS: dict[str, Callable[[Ranks, Path], Made]] = {
    **{name: (lambda ranks, _, case=case: trained(case, ranks)) for name, case in CASES.items()},
    **{name: (lambda ranks, _, case=case: trained(case, ranks)) for name, case in SHARDED.items()},
    "sharded and resumed": _sharded_and_resumed,
    "dropout": lambda ranks, _: trained(DROPPED, ranks),
    "broken off and resumed": _broken_off_and_resumed,
    "stopped by one": _stopped_by_one,
    "rank 1 fails": _failing(_full_disk, 1),
    "rank 0 fails": _failing(_full_disk, 0),
    "rank 1 has a bug": _failing(_bug, 1),
    "diverged": _diverged,
    "out of memory": _out_of_memory,
    "sharded out of memory": _sharded_out_of_memory,
    "sharded rank 1 fails": _failing(_full_disk, 1, SHARDED["sharded softmax"]),
    "other rows": _other_rows,
    "rank 1 hangs": _hanging,
    "the start hangs": _slow_start,
}


def main(folder: Path, names: Sequence[str], ports: Sequence[str]) -> None:
    """Run scenarios as the rank that the environment says, and write what each ended with."""
    torch.set_num_threads(1)
    distributed.GRACE = 0.0
    sharded_table.BLOCK = 64  # so that tables come and go in several pieces, the last one smaller
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
