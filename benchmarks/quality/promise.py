"""What an adapter saves beside full fine-tuning, and what it does not.

    python benchmarks/quality/promise.py [--json FILE] [--quick | --full] [--work DIR]

One base over XMarket's markets; adapters of rank 8 at their defaults beside full fine-tuning of the
same rows with a row-sparse Adam, and beside dense Adam on the whole tables. Each arm is trained at
the step sizes of adapt's grid, each in a process of its own on one thread; the best on validation
counts. Seconds are the processor's until 99 % of full fine-tuning's best validation recall@20 is
reached, and hold the validation after each epoch. Memory is what the process held at most, less
what it held with base and data read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if (ROOT := str(Path(__file__).resolve().parents[2])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Measures, header, parser, say, table
from benchmarks.quality.arms import Bench, base_run
from benchmarks.quality.stores import uri_of
from benchmarks.quality.xmarket import opened, plan_of

ARMS = ("lora", "full", "dense")
ENOUGH = 0.99
"""Of full fine-tuning's best validation recall."""
SCRIPT = Path(__file__).with_name("promise_arm.py")


@dataclass(frozen=True)
class Arm:
    """The trial of an arm that validates best."""

    multiple: float
    curve: list[tuple[float, float, float]]
    """Seconds, recall@20 and nDCG after each epoch, 0 before the first step."""
    seconds: float
    peak_mib: float
    parameters: int
    optimizer_bytes: int
    bytes: int

    @property
    def ndcg(self) -> float:
        """The best, on which a trial is chosen."""
        return max(point[2] for point in self.curve)

    @property
    def recall(self) -> float:
        """The best."""
        return max(point[1] for point in self.curve)

    def reached(self, recall: float) -> tuple[int, float] | None:
        """Epoch and seconds when a recall was reached first."""
        for epoch, (seconds, found, _) in enumerate(self.curve):
            if found >= recall:
                return epoch, seconds
        return None


def best_of(bench: Bench, base: str, market: str, arm: str, quick: bool) -> Arm:
    """An arm at each step size of the grid; the best on validation."""
    trials = []
    grid = bench.settings.adapt.learning_rate_grid
    for multiple in grid[-1:] if quick else grid:
        command = [sys.executable, SCRIPT, uri_of(bench.cache), base, market, arm, str(multiple)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{market} {arm} {multiple}: {done.stderr}")
        trials.append(Arm(multiple, **json.loads(done.stdout)))
        say(f"{market} {arm} {multiple:g} times the step size: recall@20 {trials[-1].recall:.4f}")
    return max(trials, key=lambda trial: trial.ndcg)


def compare(market: str, arms: dict[str, Arm], measures: Measures) -> dict[str, float]:
    """A table of one market, and full fine-tuning's numbers ÷ LoRA's."""
    goal = ENOUGH * arms["full"].recall
    lines = []
    seconds = {}
    for name, arm in arms.items():
        reached = arm.reached(goal)
        if reached is not None:
            seconds[name] = reached[1]
        lines.append(
            [
                name,
                arm.recall,
                None if reached is None else reached[0],
                None if reached is None else round(reached[1], 2),
                round(arm.seconds, 1),
                round(arm.peak_mib, 1),
                f"{arm.parameters:,}",
                f"{arm.optimizer_bytes:,}",
            ]
        )
        measures.add(f"xmarket_{market}_{name}_valid_recall_at_20", arm.recall, "recall")
        measures.add(f"xmarket_{market}_{name}_seconds", arm.seconds, "s")
        if reached is None:
            measures.leave_out(f"xmarket_{market}_{name}_seconds_to_quality", f"below {goal:.4f}")
        else:
            measures.add(f"xmarket_{market}_{name}_seconds_to_quality", reached[1], "s")
    columns = ["arm", "recall@20", "epochs", "s to 99 %", "s in all", "peak MiB", "trained", "Adam"]
    table(f"{market}: 99 % of full fine-tuning's best is {goal:.4f}", columns, lines)
    own, full = arms["lora"], arms["full"]
    ratios = {
        "optimizer_bytes": full.optimizer_bytes / own.optimizer_bytes,
        "peak_memory": full.peak_mib / max(own.peak_mib, 1e-9),
    }
    if "lora" in seconds:
        ratios["seconds_to_quality"] = seconds["full"] / max(seconds["lora"], 1e-9)
    return ratios


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    plan = plan_of(options.quick, options.full)
    header("What an adapter saves beside full fine-tuning: XMarket, one thread")
    bench = opened(plan, options.work)
    base = str(base_run(bench, bench.seeded(0))["run"])
    measures = Measures()
    markets = plan.markets if options.full else plan.markets[:1]
    ratios = []
    for market in markets:
        arms = {arm: best_of(bench, base, market, arm, plan.quick) for arm in ARMS}
        ratios.append(compare(market, arms, measures))
    for name in ("seconds_to_quality", "optimizer_bytes", "peak_memory"):
        if not all(name in ratio for ratio in ratios):
            measures.leave_out(f"{name}_vs_full", "LoRA stayed below 99 % in some market")
            continue
        mean = sum(ratio[name] for ratio in ratios) / len(ratios)
        measures.add(f"{name}_vs_full", mean, "ratio", "full fine-tuning", mean)
        print(f"{name}_vs_full {mean:.2f}")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. The base is kept; the same command goes on from there.")
        sys.exit(130)
