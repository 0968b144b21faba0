"""What a step of a mixed batch of many domains costs: stacked, one by one, and PEFT's loop."""

from __future__ import annotations

from benchmarks.adapter_arms import BATCH, DIM, RANK, World
from benchmarks.common import Measures, say, table
from benchmarks.domain_arms import ONE_BY_ONE, PEFT_ADAM, PEFT_LOOP, STACKED
from benchmarks.step_workers import STEPS, TURN, Cost, Worker, measured

ROWS, QUICK_ROWS = 200_000, 5_000
"""V of the item table."""
NAME = "domains16_vs_peft"


def domains_cost(domains: int, rows: int, arms: tuple[str, ...], turn: int) -> dict[str, Cost]:
    """What a step of one mixed batch costs each arm."""
    say(f"mixed batches: {domains} domains")
    workers = [Worker(arm, World(rows, STEPS), "many", {"domains": domains}) for arm in arms]
    return measured(workers, (arms,), turn, turn)


def mixed_batches(quick: bool, measures: Measures) -> None:
    """Table and measures at 16 and at 256 domains; PEFT's 256 dense tables are left out."""
    if quick:
        sizes = {4: domains_cost(4, QUICK_ROWS, (STACKED, ONE_BY_ONE), 4)}
        measures.leave_out(f"{NAME}, domains256_over_domains16_each", "--quick has four domains")
    else:
        every = (STACKED, ONE_BY_ONE, PEFT_LOOP, PEFT_ADAM)
        sizes = {
            16: domains_cost(16, ROWS, every, TURN),
            256: domains_cost(256, ROWS, every[:2], TURN),
        }
    table(
        f"A step of a mixed batch of {BATCH:,} rows: V = {QUICK_ROWS if quick else ROWS:,}, "
        f"d = {DIM}, r = {RANK}, item adapters",
        ["", "domains", "ms", "ms a domain", "/ ours", "peak MiB"],
        [
            (
                arm,
                str(domains),
                f"{own.ms:.2f}",
                f"{own.ms / domains:.3f}",
                f"{own.ms / found[STACKED].ms:.2f}x",
                f"{own.peak:.0f}",
            )
            for domains, found in sizes.items()
            for arm, own in found.items()
        ],
    )
    for domains, found in sizes.items():
        ours = found[STACKED].ms
        measures.add(f"domains{domains}_ours_ms", ours, "ms")
        peers = {PEFT_LOOP: "peft", PEFT_ADAM: "peft_adam", ONE_BY_ONE: "one_by_one"}
        for arm, name in peers.items():
            if arm in found:
                ratio = found[arm].ms / ours
                measures.add(f"domains{domains}_vs_{name}", ratio, "ratio", arm, ratio)
    if not quick:
        loop = sizes[16][PEFT_LOOP]
        measures.add("domains16_peer_ms", loop.ms, "ms", PEFT_LOOP)
        ratio = loop.ms / sizes[16][ONE_BY_ONE].ms
        measures.add("domains16_one_by_one_vs_peft", ratio, "ratio", PEFT_LOOP, ratio)
        each = sizes[256][STACKED].ms / 256 / (sizes[16][STACKED].ms / 16)
        measures.add("domains256_over_domains16_each", each, "ratio")
