"""Processes that each take the steps of one arm, told when, so that arms run in turns.

Each has one thread (`step_process.py`). They take ten steps to warm up and then fifty, ten at a
time, one arm after another; a number is the median of the fifty, of the processor's time. Before
that each takes one step of SGD, and the scores of arms that do the same have to agree after it.
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

from benchmarks.adapter_arms import World
from benchmarks.common import say

WARM, TURN, TURNS = 10, 10, 5
STEPS = WARM + TURN * TURNS
TOLERANCE = 1e-5


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

    def __init__(self, arm: str, world: World, kind: str, options: Mapping[str, Any]) -> None:
        self.arm, self.found = arm, list[float]()
        made = {"arm": arm, "world": asdict(world), "kind": kind, "options": dict(options)}
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
    workers: Sequence[Worker], same: Sequence[tuple[str, ...]], warm: int = WARM, turn: int = TURN
) -> dict[str, Cost]:
    """What each arm costs; its processes are ended.

    Args:
        workers: One an arm.
        same: Names of arms that do the same, and have to come to the same scores.
        warm: Steps before the clock.
        turn: Steps that an arm takes before the next one's turn; there are five turns.

    Raises:
        SystemExit: Arms that do the same came to other scores.
    """
    try:
        for worker in workers:
            worker.ready()
        _check(workers, same)
        for worker in workers:
            worker.ask(f"steps {warm}")
        for _ in range(TURNS):
            for worker in workers:
                worker.found += worker.ask(f"steps {turn}")
        return {w.arm: Cost(statistics.median(w.found), w.ask("peak"), w.touched) for w in workers}
    finally:
        for worker in workers:
            worker.close()


def _check(workers: Sequence[Worker], same: Sequence[tuple[str, ...]]) -> None:
    """Scores before and after a step of SGD are the same for those that do the same."""
    with tempfile.TemporaryDirectory() as folder:
        scores = {}
        for worker in workers:
            file = Path(folder) / f"{len(scores)}.npy"
            worker.ask(f"check {file}")
            scores[worker.arm] = np.load(file)
    for group in same:
        arms = [(arm, scores[arm]) for arm in group if arm in scores]
        for arm, found in arms[1:]:
            first, expected = arms[0]
            apart = float(np.abs(found - expected).max())
            moved = float(np.abs(found[1] - found[0]).max())
            if not apart <= TOLERANCE or moved < 100 * TOLERANCE:
                say(
                    f"{arm} and {first} are {apart:.1e} apart after a step of SGD that moved "
                    f"scores by {moved:.1e}. Expected at most {TOLERANCE:g}."
                )
                raise SystemExit(1)
