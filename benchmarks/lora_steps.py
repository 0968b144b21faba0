"""What a training step costs: row LoRA, PEFT's, and sparse full fine-tuning, in turns.

Each arm is a process of its own on one thread (`step_process.py`). They take ten steps to warm up
and then fifty, ten at a time, one arm after another; a number is the median of the fifty, of the
processor's time. Before that each takes one step of SGD: the scores after it have to agree between
ours and PEFT, and between the two ways of full fine-tuning.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.adapter_arms import ARMS, BATCH, DIM, FULL, OURS, PEFT, RANK, World
from benchmarks.common import Measures, say, table

WARM, TIMED, TURN = 10, 50, 10
"""Steps before the clock, steps timed, and how many an arm takes before the next one's turn."""
TOLERANCE = 1e-5
SIZES, QUICK_ROWS = (100_000, 1_000_000, 4_000_000), 10_000
"""V of the tables."""
FLAT = "step_v4m_over_v100k"
NAMES = {
    PEFT[0]: "peft_adam",
    PEFT[1]: "peft_fused",
    FULL[0]: "full_rows",
    FULL[1]: "sparse_adam",
}
"""Of the arms in the measures' names."""


class Cost(NamedTuple):
    """What an arm was found to take."""

    ms: float
    """A step, median."""
    peak: float
    """MiB, the largest resident size of its process."""
    touched: int
    """Items of the domain."""


class Worker:
    """The process of an arm."""

    def __init__(self, arm: str, world: World, loss: str, negatives: int) -> None:
        self.arm, self.found = arm, list[float]()
        made = {"arm": arm, "world": asdict(world), "loss": loss, "negatives": negatives}
        script = Path(__file__).with_name("step_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(made)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.touched = 0

    def ready(self) -> None:
        """Wait until it has made what it steps with."""
        self.touched = int(self._answer()["touched"])

    def ask(self, line: str) -> Any:
        """Tell it a line and wait for what it prints."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            say(f"{self.arm}: the process ended with {self.process.wait()}.")
            raise SystemExit(1)
        return json.loads(line)


def measured(
    world: World, arms: Sequence[str], loss: str = "bpr", negatives: int = BATCH
) -> dict[str, Cost]:
    """What each arm costs.

    Raises:
        SystemExit: Arms that do the same came to other scores.
    """
    say(f"steps: V = {world.rows:,}, {loss}")
    everywhere = {arm: World(world.rows, world.steps, arm == OURS[1]) for arm in arms}
    workers = [Worker(arm, everywhere[arm], loss, negatives) for arm in arms]
    try:
        for worker in workers:
            worker.ready()
        _check(workers)
        for worker in workers:
            worker.ask(f"steps {WARM}")
        for _ in range(TIMED // TURN):
            for worker in workers:
                worker.found += worker.ask(f"steps {TURN}")
        return {w.arm: Cost(statistics.median(w.found), w.ask("peak"), w.touched) for w in workers}
    finally:
        for worker in workers:
            worker.close()


def _check(workers: Sequence[Worker]) -> None:
    """Scores before and after a step of SGD are the same for those that do the same."""
    with tempfile.TemporaryDirectory() as folder:
        scores = {}
        for worker in workers:
            file = Path(folder) / f"{len(scores)}.npy"
            worker.ask(f"check {file}")
            scores[worker.arm] = np.load(file)
    # Where every row is touched, negatives are drawn from a larger catalogue: another loss.
    for group in (OURS[:1] + PEFT, FULL):
        same = [(arm, scores[arm]) for arm in group if arm in scores]
        for arm, found in same[1:]:
            apart = float(np.abs(found - same[0][1]).max())
            moved = float(np.abs(found[1] - found[0]).max())
            if not apart <= TOLERANCE or moved < 100 * TOLERANCE:
                say(
                    f"{arm} and {same[0][0]} are {apart:.1e} apart after a step of SGD that moved "
                    f"scores by {moved:.1e}. Expected at most {TOLERANCE:g}."
                )
                raise SystemExit(1)


def short(rows: int) -> str:
    """100000 as `100k`, 4000000 as `4m`."""
    return f"{rows // 10**6}m" if rows % 10**6 == 0 else f"{rows // 1000}k"


def step_cost(quick: bool, measures: Measures) -> None:
    """Tables and measures of a step at several sizes of the table; of a quick run one, small."""
    if quick:
        found = measured(World(QUICK_ROWS, WARM + TIMED), (OURS[0], PEFT[1], *FULL))
        _shown({QUICK_ROWS: found})
        _ratios(QUICK_ROWS, found, measures)
        names = ("step_vs_peft_adam_1m", "step_vs_peft_fused_1m", "step_vs_peft_fused_4m")
        measures.leave_out(", ".join((*names, FLAT)), "--quick has a smaller table")
        return
    every = {
        rows: measured(World(rows, WARM + TIMED), ARMS if rows == SIZES[1] else (*OURS, PEFT[1]))
        for rows in SIZES
    }
    _shown(every)
    for rows, found in every.items():
        _ratios(rows, found, measures)
    for arm, name in zip(OURS, (FLAT, FLAT.replace("step", "step_all_rows")), strict=True):
        measures.add(name, every[SIZES[-1]][arm].ms / every[SIZES[0]][arm].ms, "ratio")
    _shared_negatives(SIZES[1], 1024, measures)


def _shown(every: Mapping[int, Mapping[str, Cost]]) -> None:
    rows: list[tuple[object, ...]] = []
    for size, found in every.items():
        for arm, own in found.items():
            # Only ours has less than the table; PEFT and SparseAdam have a row for each of it.
            has = own.touched if arm.startswith("lorarec") else size
            times = f"{own.ms / found[OURS[0]].ms:.2f}x"
            rows.append((arm, f"{size:,}", f"{has:,}", f"{own.ms:.2f}", times, f"{own.peak:.0f}"))
    table(
        f"A step of BPR, one negative a row: d = {DIM}, r = {RANK}, {BATCH:,} rows drawn by Zipf",
        ["", "V", "trained rows", "ms", "/ ours", "peak MiB"],
        rows,
    )


def _ratios(size: int, found: Mapping[str, Cost], measures: Measures) -> None:
    end, ours = short(size), found[OURS[0]]
    for arm, own in found.items():
        name = NAMES.get(arm)
        if name is not None:
            ratio = own.ms / ours.ms
            measures.add(f"step_vs_{name}_{end}", ratio, "ratio", arm, ratio)
    for whose, own, peer in (("ours", ours, None), ("peer", found[PEFT[1]], PEFT[1])):
        measures.add(f"step_{end}_{whose}_ms", own.ms, "ms", peer)
        measures.add(f"step_{end}_{whose}_peak_mib", own.peak, "MiB", peer)


def _shared_negatives(rows: int, negatives: int, measures: Measures) -> None:
    """The same beside a loss whose products of users and items take most of a step."""
    found = measured(World(rows, WARM + TIMED), (OURS[0], PEFT[1]), "softmax", negatives)
    first = found[OURS[0]].ms
    table(
        f"A step of softmax over {negatives:,} negatives that the rows share, V = {rows:,}",
        ["", "ms", "/ ours"],
        [(arm, f"{own.ms:.2f}", f"{own.ms / first:.2f}x") for arm, own in found.items()],
    )
    ratio = found[PEFT[1]].ms / first
    measures.add(f"step_softmax_vs_peft_fused_{short(rows)}", ratio, "ratio", PEFT[1], ratio)
