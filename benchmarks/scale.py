"""How large a base can be: 1e9 interactions, 1e8 users and 1e7 items on 1, 8 and 64 GPUs.

    python benchmarks/scale.py [--json FILE] [--quick | --full]

Measured, on one thread of this machine and on two workers of it: what a step costs by part, how
many bytes a row and an interaction take, what the start takes, what two workers send each other
with whole tables and with tables in shards (`scale_rates.py`). Computed from that, for GPUs that
are not here: memory, messages and time, and what stops such a base first (`scale_plan.py`).
Assumed, and shown by name: the figures of the GPUs, of their machines and of the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Measures, header, parser, table
from benchmarks.scale_plan import (
    GB,
    Assumed,
    Plan,
    World,
    adapters,
    assumptions,
    breaks,
    planned,
    slowest,
)
from benchmarks.scale_rates import DIM, NEGATIVES, QUICK, Rates, Sizes, measured, received

GPUS = (1, 8, 64)
NAMES = {False: "whole", True: "sharded"}


def main() -> None:
    """Measure, compute, print."""
    options = parser(__doc__.split("\n")[0]).parse_args()
    header("scale: a base of 1e9 interactions, computed from one worker's rates")
    measures = Measures()
    rates = measured(QUICK if options.quick else Sizes())
    shown(rates, measures)
    world, has = World(), Assumed()
    plans = [planned(rates, gpus, sharded, world, has) for sharded in NAMES for gpus in GPUS]
    if options.quick:
        measures.leave_out("gpus…", "--quick measures too little to compute from")
    else:
        computed(plans, rates, world, has, measures)
    measures.finish(options.json)


def shown(rates: Rates, measures: Measures) -> None:
    """The measured rates, and what two workers send and hold."""
    rows = [
        ("product", "a matrix product", rates.product / 1e9, "GFLOP/s"),
        ("copy", "a copy, read and written", rates.copy / GB, "GB/s"),
        ("pair", "a row and a negative, beside products", rates.pair * 1e9, "ns"),
        ("row", "a touched row in the optimiser", rates.row * 1e9, "ns"),
        ("overhead", "a step with nothing to compute", rates.overhead * 1e3, "ms"),
        ("adam_kept", "a row with Adam", rates.kept["adam"], "bytes"),
        ("adam_state", "  of it the optimiser's", rates.optimizer["adam"], "bytes"),
        ("adagrad_kept", "a row with Adagrad", rates.kept["adagrad"], "bytes"),
        ("adagrad_state", "  of it the optimiser's", rates.optimizer["adagrad"], "bytes"),
        ("example", "an interaction on the device", rates.example, "bytes"),
        ("host", "an interaction in a process besides", rates.host, "bytes"),
        ("start", "the start, an interaction", rates.start_seconds * 1e6, "µs"),
        ("start_memory", "  its memory at most", rates.start_bytes, "bytes"),
        ("ranked", "validation, a user and an item", rates.ranked * 1e9, "ns"),
        ("adapter", "an adapter, an interaction and epoch", rates.adapter * 1e6, "µs"),
        ("adapter_row", "an adapter's numbers, a touched row", rates.adapter_bytes, "bytes"),
        ("word", "two workers: a word of each to the other", rates.word * 1e6, "µs"),
    ]
    for sharded, name in NAMES.items():
        rows += [
            (f"{name}_words", f"two workers, {name}: words a step", rates.words[sharded], ""),
            (f"{name}_received", "  received a step", rates.traffic[sharded] / 1e6, "MB"),
            (f"{name}_touched", "  rows touched a step", rates.touched[sharded], ""),
            (f"{name}_held", "  tables and optimiser on one", rates.held[sharded] / 1e6, "MB"),
        ]
    table(
        f"Measured, d = {DIM}, {NEGATIVES:,} negatives",
        ["", "", "unit"],
        [(label, f"{value:,.4g}", unit) for _, label, value, unit in rows],
    )
    for name, _, value, unit in rows:
        measures.add(name, value, unit)
    for sharded, name in NAMES.items():
        ratio = rates.traffic[sharded] / received(rates.touched[sharded], 2, sharded)
        measures.add(f"{name}_received_over_formula", ratio, "ratio")
    held = rates.held[True] / rates.held[False]
    measures.add("sharded_held_over_whole", held, "ratio", "whole tables", held)


def computed(
    plans: list[Plan], rates: Rates, world: World, has: Assumed, measures: Measures
) -> None:
    """What follows of them."""
    table("Assumed, not measured (benchmarks/scale_plan.py says whose)", ["", ""], assumptions(has))
    table(
        f"Computed: {world.interactions:.0e} interactions, {world.users:.0e} users, "
        f"{world.items:.0e} items, {world.domains:,.0f} domains, {world.batch:,.0f} rows a step",
        [
            "GPUs, tables", "GPU GB", "of it tables", "machine GB", "in, MB/step",
            "step ms", "compute", "send", "words", "epoch h",
        ],
        [
            (
                f"{plan.gpus}, {NAMES[plan.sharded]}",
                f"{plan.gpu / GB:.0f}",
                f"{plan.tables / GB:.0f}",
                f"{plan.host / GB:,.0f}",
                f"{plan.received / 1e6:,.0f}",
                f"{plan.step * 1e3:.1f}",
                f"{plan.compute * 1e3:.2f}",
                f"{plan.sending * 1e3:.2f}",
                f"{plan.words * 1e3:.2f}",
                f"{plan.epoch / 3600:.2f}",
            )
            for plan in plans
        ],
    )  # fmt: skip
    table(
        "What breaks first",
        ["GPUs, tables", "", "most of a step"],
        [(f"{p.gpus}, {NAMES[p.sharded]}", breaks(p, has), slowest(p)) for p in plans],
    )
    one = plans[0]
    table(
        "Once, whatever the GPUs",
        ["", "hours", "GB"],
        [
            ("the start, on one core of the first machine", one.start / 3600, one.start_host / GB),
            ("a checkpoint, to the disk", *_written(one, has)),
            ("shards to the first machine, for the base", plans[-1].collected / 3600, None),
        ],
    )
    found = [(gpus, *adapters(rates, gpus, world, has)) for gpus in GPUS]
    table(
        f"Adapters of {world.domains:,.0f} domains, {world.adapt_trials:.0f} step sizes of "
        f"{world.adapt_epochs:.0f} epochs, on the machines' cores",
        ["GPUs beside the cores", "h a domain and core", "h in all", "GB in all"],
        [
            (str(gpus), seconds / 3600, hours, f"{size / GB:.1f}")
            for gpus, seconds, hours, size in found
        ],
    )
    for plan in plans:
        name = f"gpus{plan.gpus}_{NAMES[plan.sharded]}"
        measures.add(f"{name}_gpu_bytes", plan.gpu, "bytes")
        measures.add(f"{name}_step_ms", plan.step * 1e3, "ms")
        measures.add(f"{name}_received_bytes", plan.received, "bytes")
        measures.add(f"{name}_epoch_hours", plan.epoch / 3600, "h")


def _written(plan: Plan, has: Assumed) -> tuple[float, float]:
    """Hours and GB of a checkpoint."""
    return plan.tables / has.disk / 3600, plan.tables / GB


if __name__ == "__main__":
    main()
