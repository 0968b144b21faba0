"""Many small domains: side by side in two worker processes, one after another, one by one.

    python benchmarks/fanout.py --json fanout.json

The commands are what a person would type: `lorarec adapt --all-domains` with `--engine spawn
--workers 2` and with `--engine serial`, which is one pass in one process, and `lorarec adapt
--domain D` for a few of the domains. Each process trains on one thread; the adapters of all ways
have to be the same to the bit. Wall time is what is asked of a fan-out, so the ratio says little on
a machine that has no two cores to give; the load before and after is printed, and processor time
stands beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)

from benchmarks.common import Measures, header, parser, say, table  # noqa: E402
from benchmarks.lora import Project  # noqa: E402
from lorarec.data.synthetic import make_logs  # noqa: E402

DOMAINS, QUICK_DOMAINS = 200, 3
ROWS = 1000
"""Interactions of a domain."""
ALONE = 3
"""Domains that are adapted to by a command each; with --quick none is."""
WORKERS = 2
SHAPE = ("--rank", "8", "--set", "train.threads=1")
MIB = 2**20


@dataclass
class Memory:
    """What worker processes hold at most, while a block runs; where there is a /proc."""

    private: dict[int, int] = field(default_factory=dict)
    """Bytes that are a worker's alone, by process."""
    resident: dict[int, int] = field(default_factory=dict)
    """Those that it shares with others too."""

    def __enter__(self) -> Memory:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watched)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _watched(self) -> None:
        while not self._over.wait(0.3):
            for pid in _descendants(os.getpid()):
                try:
                    if "spawn_main" not in Path(f"/proc/{pid}/cmdline").read_text():
                        continue
                    found = _kibibytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
                except OSError:
                    continue
                own = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
                for kept, value in ((self.private, own), (self.resident, found.get("Rss", 0))):
                    kept[pid] = max(kept.get(pid, 0), value * 1024)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
        except OSError:
            continue
    return found


def _kibibytes(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines() if line.endswith("kB"))
    return {line[0].rstrip(":"): int(line[1]) for line in lines}


def load() -> str:
    """Processes that wanted a core in the last minute, of how many cores."""
    try:
        return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    except OSError:
        return "not told"


def digests(done: dict[str, Any]) -> dict[str, str]:
    """Adapters of a pass by domain."""
    return {one["domain"]: one["adapter_digest"] for one in done["found"]["done"]}


def idle(done: dict[str, Any], places: int) -> float:
    """Seconds a domain that a place to train at was not training."""
    outcomes = done["found"]["done"]
    training = sum(one["seconds"] for one in outcomes)
    return float((done["wall"] * places - training) / len(outcomes))


def measure(options: argparse.Namespace, measures: Measures) -> None:
    """Base, then each way once."""
    count = QUICK_DOMAINS if options.quick else DOMAINS
    names = tuple(f"d{number:03}" for number in range(count))
    folder = options.work.resolve() / f"fanout-{count}-{os.getpid()}"
    folder.mkdir(parents=True)
    logs = folder / "logs.parquet"
    make_logs(names, users=100 * count, items=20 * count, interactions=ROWS * count).write_parquet(
        logs
    )
    project = Project(folder)
    say(f"{count} domains: the base")
    project.run("pretrain", "--data", str(logs), "--epochs", "2", "--set", "model.dim=64")

    def timed(what: str, *words: str) -> dict[str, Any]:
        say(f"{what}; load {load()}")
        return project.run("adapt", *words, *SHAPE)

    serial = timed("one after another", "--all-domains")
    with Memory() as memory:
        spawn = timed(
            "side by side", "--all-domains", "--engine", "spawn", "--workers", str(WORKERS)
        )
    few = names[: 0 if options.quick else ALONE]
    alone = {name: timed(f"{name} alone", "--domain", name) for name in few}
    own = digests(serial)
    one_by_one = {name: done["found"]["adapter_digest"] for name, done in alone.items()}
    if digests(spawn) != own or any(own[name] != found for name, found in one_by_one.items()):
        say("The ways gave other adapters. Expected the same to the bit.")
        raise SystemExit(1)
    rows = [
        ("one pass, one process", *_row(serial, 1)),
        (f"spawn, {WORKERS} workers", *_row(spawn, WORKERS)),
    ]
    ratio = spawn["wall"] / serial["wall"]
    measures.add(f"fanout_{count}_over_serial", ratio, "ratio", "one pass", ratio)
    if alone:
        wall, cpu = (
            count * statistics.mean(done[key] for done in alone.values()) for key in ("wall", "cpu")
        )
        rows.append((f"a command each, {len(few)} measured", f"{wall:.1f}", f"{cpu:.1f}", "-"))
        ratio = spawn["wall"] / wall
        measures.add(f"fanout_{count}_over_commands", ratio, "ratio", "a command each", ratio)
    else:
        measures.leave_out(f"fanout_{count}_over_commands", "--quick has no command for each")
    table(
        f"{count} domains of about {ROWS:,} rows, the same adapters to the bit; load {load()}",
        ["", "wall s", "cpu s", "not training, s a domain"],
        rows,
    )
    measures.add("fanout_wall_s", spawn["wall"], "s")
    measures.add("serial_wall_s", serial["wall"], "s", "one pass")
    measures.add("fanout_cpu_over_serial", spawn["cpu"] / serial["cpu"], "ratio", "one pass")
    measures.add("fanout_overhead_s_a_domain", idle(spawn, WORKERS), "s")
    measures.add("serial_overhead_s_a_domain", idle(serial, 1), "s", "one pass")
    _memory(memory, measures)


def _row(done: dict[str, Any], places: int) -> tuple[str, ...]:
    return f"{done['wall']:.1f}", f"{done['cpu']:.1f}", f"{idle(done, places):.3f}"


def _memory(memory: Memory, measures: Measures) -> None:
    if not memory.private:
        measures.leave_out("worker_private_mib, worker_resident_mib", "there is no /proc here")
        return
    private, resident = (max(kept.values()) / MIB for kept in (memory.private, memory.resident))
    print(f"A worker held at most {resident:.0f} MiB, of them {private:.0f} its own.")
    measures.add("worker_private_mib", private, "MiB")
    measures.add("worker_resident_mib", resident, "MiB")


def main() -> None:
    """Measure, print, write."""
    options = parser(str(__doc__).splitlines()[0]).parse_args()
    header("Fan-out over domains")
    measures = Measures()
    measure(options, measures)
    measures.finish(options.json)


if __name__ == "__main__":
    main()
