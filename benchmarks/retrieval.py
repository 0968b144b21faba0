"""Speed of approximate search on one CPU thread: queries a second at recall .98 against exact.

    python benchmarks/retrieval.py [--json FILE] [--quick | --full]

A million made items of 64 dimensions and their users, of unit length, whose deviation falls off by
a power law over the dimensions. What an index gains depends on how vectors lie more than on
anything else, so `lorarec index build` measures it on yours. Each index is built once; its effort
is chosen for recall .98 at k = 20 on users of their own, as that command does. Then it and exact
search answer the same other users in turns, with all that lorarec adds to FAISS, and a ratio is the
median of the rounds' ratios. Times are the processor's, one thread, so that other work on the
machine counts for little. --full adds compressed lists.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Measures, header, parser, say, table
from lorarec.retrieval.approximate import ApproximateIndex
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.index import ExactIndex, tuned_faiss
from lorarec.retrieval.recall import calibrate, recall_against

ITEMS, DIM, K, TARGET = 1_000_000, 64, 20, 0.98
POWER = 0.5
"""Standard deviation of dimension j is j^-POWER."""
ALONE = 50
"""Users that are answered one by one as well, as on a page that waits for one of them."""
USERS = 1000
"""Measured; as many others choose the effort."""
Floats = npt.NDArray[np.float32]


def made_vectors(items: int, users: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Items and users of one law, all of norm 1."""
    rng = np.random.default_rng(seed)
    deviations = (np.arange(1, DIM + 1) ** -POWER).astype(np.float32)

    def drawn(count: int) -> Floats:
        vectors = rng.standard_normal((count, DIM), dtype=np.float32) * deviations
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return drawn(items), drawn(users)


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, others, strict=True))


@dataclass
class Arm:
    """One index and what was found of it."""

    name: str
    index: CatalogueIndex
    build_seconds: float
    index_bytes: int
    effort: str
    recall: float = 1.0
    rates: list[float] = field(default_factory=list)
    """Users a second, all at once, by round."""
    alone: list[float] = field(default_factory=list)
    """The same, one after another."""


def approximate_arm(name: str, factory: str, exact: ExactIndex, users: Floats) -> Arm:
    """Build and calibrate."""
    say(f"{name}: {factory} over {len(exact):,} items")
    started = time.process_time()
    index = ApproximateIndex.over(exact.catalogue, factory)
    seconds = time.process_time() - started
    effort = calibrate(index, exact, users, K, TARGET)
    say(f"{name}: built in {seconds:.0f} s, effort {effort}")
    shown = f"{effort.value}" + (f" x{effort.candidates}" if effort.candidates > 1 else "")
    return Arm(factory, index, seconds, index.index_bytes, shown)


def approximate_against_exact(
    measures: Measures, quick: bool = False, full: bool = False, rounds: int = 3
) -> None:
    """Build, calibrate, answer in turns; adds `hnsw_recall`, `hnsw_vs_exact` and the same of `ivf`.

    Args:
        measures: Takes what is found.
        quick: 20,000 items.
        full: With product quantization.
        rounds: Of turns.
    """
    tuned_faiss().omp_set_num_threads(1)
    items, several = (20_000, 400) if quick else (ITEMS, 2 * USERS)
    vectors, drawn = made_vectors(items, several)
    asked, others = drawn[: several // 2], drawn[several // 2 :]
    exact = ExactIndex(vectors)
    del vectors
    lists = 128 if quick else 4096
    wanted = {"hnsw": "HNSW32", "ivf": f"IVF{lists},Flat"}
    if full:
        wanted["ivfpq"] = f"IVF{lists},PQ32x4fs,RFlat"
    arms = {"exact": Arm("exact", exact, 0.0, 0, "-")}
    arms |= {name: approximate_arm(name, text, exact, others) for name, text in wanted.items()}
    _, true = exact.search(asked, K)
    for number in range(rounds):
        say(f"queries: round {number + 1} of {rounds}")
        for arm in arms.values():
            started = time.process_time()
            _, scores = arm.index.search(asked, K)
            arm.rates.append(len(asked) / (time.process_time() - started))
            arm.recall = recall_against(scores, true)
            started = time.process_time()
            for user in asked[:ALONE]:
                arm.index.search(user[None], K)
            arm.alone.append(len(asked[:ALONE]) / (time.process_time() - started))
    exact_arm = arms["exact"]
    over = {name: ratio(arm.rates, exact_arm.rates) for name, arm in arms.items()}
    alone = {name: ratio(arm.alone, exact_arm.alone) for name, arm in arms.items()}
    table(
        f"{items:,} items, d = {DIM}, k = {K}, {len(asked):,} users, one thread",
        ["index", f"recall@{K}", "queries/s", "over exact", "one by one", "over exact", "effort",
         "build s", "MB over vectors"],
        [
            (arm.name, f"{arm.recall:.4f}", round(statistics.median(arm.rates)),
             f"{over[name]:.1f}x", round(statistics.median(arm.alone)), f"{alone[name]:.1f}x",
             arm.effort, round(arm.build_seconds), round(arm.index_bytes / 1e6))
            for name, arm in arms.items()
        ],
    )  # fmt: skip
    measures.add("exact_queries_per_s", statistics.median(exact_arm.rates), "queries/s")
    measures.add("exact_alone_per_s", statistics.median(exact_arm.alone), "queries/s")
    for name in wanted:
        arm = arms[name]
        measures.add(f"{name}_recall", arm.recall, "share")
        measures.add(f"{name}_queries_per_s", statistics.median(arm.rates), "queries/s")
        measures.add(f"{name}_build_s", arm.build_seconds, "s")
        if arm.recall >= TARGET - 0.005:
            measures.add(f"{name}_vs_exact", over[name], "ratio", "exact search", over[name])
            measures.add(
                f"{name}_alone_vs_exact", alone[name], "ratio", "exact search", alone[name]
            )
        else:
            measures.leave_out(f"{name}_vs_exact", f"recall is {arm.recall:.4f}, below {TARGET}")


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    header("Approximate search, one thread")
    measures = Measures()
    approximate_against_exact(measures, options.quick, options.full)
    measures.finish(options.json)


if __name__ == "__main__":
    main()
