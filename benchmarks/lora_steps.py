"""What a training step costs: row LoRA, PEFT's, and sparse full fine-tuning, in turns.

Ours and PEFT's have to come to the same scores after a step of SGD, and so have the two ways of
full fine-tuning, which stand beside them so that nobody takes the gain over dense gradients for one
over sparse training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.adapter_arms import ARMS, BATCH, DIM, FULL, OURS, PEFT, RANK, World
from benchmarks.common import Measures, say, table
from benchmarks.step_workers import STEPS, Cost, Worker, measured

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


def arms_cost(
    rows: int, arms: Sequence[str], loss: str = "bpr", negatives: int = BATCH
) -> dict[str, Cost]:
    """What a step of each arm costs on a table of so many rows."""
    say(f"steps: V = {rows:,}, {loss}")
    options = {"loss": loss, "negatives": negatives}
    workers = [Worker(arm, World(rows, STEPS, arm == OURS[1]), "one", options) for arm in arms]
    # Where every row is touched, negatives are drawn from a larger catalogue: another loss.
    return measured(workers, (OURS[:1] + PEFT, FULL))


def short(rows: int) -> str:
    """100000 as `100k`, 4000000 as `4m`."""
    return f"{rows // 10**6}m" if rows % 10**6 == 0 else f"{rows // 1000}k"


def step_cost(quick: bool, measures: Measures) -> None:
    """Tables and measures of a step at several sizes of the table; of a quick run one, small."""
    if quick:
        found = arms_cost(QUICK_ROWS, (OURS[0], PEFT[1]))
        _shown({QUICK_ROWS: found})
        _ratios(QUICK_ROWS, found, measures)
        names = ("step_vs_peft_adam_1m", "step_vs_peft_fused_1m", "step_vs_peft_fused_4m")
        measures.leave_out(", ".join((*names, FLAT)), "--quick has a smaller table")
        return
    every = {
        rows: arms_cost(rows, ARMS if rows == SIZES[1] else (*OURS, PEFT[1])) for rows in SIZES
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
    found = arms_cost(rows, (OURS[0], PEFT[1]), "softmax", negatives)
    first = found[OURS[0]].ms
    table(
        f"A step of softmax over {negatives:,} negatives that the rows share, V = {rows:,}",
        ["", "ms", "/ ours"],
        [(arm, f"{own.ms:.2f}", f"{own.ms / first:.2f}x") for arm, own in found.items()],
    )
    ratio = found[PEFT[1]].ms / first
    measures.add(f"step_softmax_vs_peft_fused_{short(rows)}", ratio, "ratio", PEFT[1], ratio)
