"""Adapters: what a training step costs, many domains, switching, size; one pass against many.

    python benchmarks/lora.py [--json FILE] [--quick | --full] [--only PART] [--work DIR]

Five parts; `--only` runs one of them. `steps`: a training step of row LoRA beside PEFT's and beside
sparse full fine-tuning, at 100 thousand to 4 million rows. `domains`: a step of a batch that mixes
16 and 256 domains. `switching`: a thousand adapters over one base. `size`: bytes on disk. Each arm
of the first two is a process on one thread, and they take turns.

`pass` compares the commands a person would type: `lorarec adapt --domain A,B,...` with `lorarec
adapt --domain A` for each in turn, on one base, each a process of its own on one thread. Seconds
are the processor's, so that other work on the machine counts for nothing, and memory is the largest
resident size of a process. Both ways must give the same adapters, digest by digest; where one
differs the script ends with an error. Settings are the defaults, rank 8, but for the base: 5 epochs
or, with --full, as many as the settings say. It decides nothing but when an adapter stops early.
Two sets of domains are measured: XMarket's seven markets, where training takes most of the time,
and 16 made domains of some 400 train rows, where starting a command does; --quick has three of
those alone. Before them, what it would gain to batch the domains into one step over whole
catalogues.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import torch

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import (
    Arrays,
    Cache,
    Measures,
    data_folder,
    file_digest,
    header,
    parser,
    say,
    table,
)
from benchmarks.lora_domains import mixed_batches
from benchmarks.lora_steps import step_cost
from benchmarks.lora_storage import sizes_on_disk, switching
from benchmarks.stacked_steps import milliseconds, sizes
from lorarec.data.synthetic import make_logs

XMARKET_SPLIT = ("--set", "data.split=column", "--set", "data.columns.split=split_ecir23")
NAME = "all_in_one_pass_over_one_by_one"
PARTS = ("steps", "domains", "switching", "size", "pass")
WITH_PEER = ("steps", "domains", "size")


@dataclass(frozen=True)
class Set:
    """Domains to adapt to.

    Attributes:
        name: For the screen and the kept arms.
        logs: Of all domains.
        domains: Their names.
        pretrain: Options of the base.
        adapt: Options of every adapter.
        measure: Name of the ratio.
    """

    name: str
    logs: Path
    domains: tuple[str, ...]
    pretrain: tuple[str, ...]
    adapt: tuple[str, ...]
    measure: str


class Project:
    """A folder in which commands run, each a process on one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORAREC_", "MLFLOW_"))}
        self.environment = {**clean, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}

    def run(self, *words: str) -> dict[str, Any]:
        """What a command prints as JSON, and what it took.

        Returns:
            `found`, the document; `cpu` and `wall`, seconds; `peak`, MiB.

        Raises:
            SystemExit: The command failed.
        """
        command = [sys.executable, "-m", "lorarec", *words, "--json"]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=out, stderr=err
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - started
            out.seek(0)
            err.seek(0)
            if process.returncode:
                say(f"{' '.join(command)} ended with {process.returncode}:\n{err.read().decode()}")
                raise SystemExit(1)
            found = json.loads(out.read())
        kib = 1024 if sys.platform != "darwin" else 1024**2
        return {
            "found": found,
            "cpu": used.ru_utime + used.ru_stime,
            "wall": wall,
            "peak": used.ru_maxrss / kib,
        }


def measure(own: Set, cache: Cache, measures: Measures) -> None:
    """Both ways over the same domains; which is first does not matter to processor time."""
    project = Project(cache.folder / own.name)
    project.folder.mkdir(parents=True, exist_ok=True)
    key = {"pretrain": own.pretrain, "adapt": own.adapt, "logs": file_digest(own.logs)}

    def based() -> dict[str, Any]:
        done = project.run("pretrain", "--data", str(own.logs), *own.pretrain)
        return {"run": done["found"]["run"]}

    base = ("--base", str(cache.arm(f"{own.name}-base", based, **key)["run"]))

    def passed() -> dict[str, Any]:
        done = project.run("adapt", "--domain", ",".join(own.domains), *base, *own.adapt)
        digests = [outcome["adapter_digest"] for outcome in done["found"]["done"]]
        training = sum(outcome["seconds"] for outcome in done["found"]["done"])
        return {k: done[k] for k in ("cpu", "wall", "peak")} | {
            "digests": digests,
            "training": training,
        }

    def single(domain: str) -> dict[str, Any]:
        done = project.run("adapt", "--domain", domain, *base, *own.adapt)
        return {k: done[k] for k in ("cpu", "wall", "peak")} | {
            "digests": [done["found"]["adapter_digest"]],
            "training": done["found"]["seconds"],
        }

    alone: dict[str, Arrays] = {
        domain: cache.arm(
            f"{own.name}-{domain}",
            lambda domain=domain: single(domain),  # type: ignore[misc]
            base=base,
            **key,
        )
        for domain in own.domains
    }
    together = cache.arm(f"{own.name}-pass", passed, base=base, domains=own.domains, **key)
    digests = [str(arm["digests"][0]) for arm in alone.values()]
    if digests != [str(digest) for digest in together["digests"]]:
        say(f"{own.name}: the pass gave other adapters than the commands one by one.")
        raise SystemExit(1)
    _shown(own, alone, together, measures)


def _shown(own: Set, alone: dict[str, Arrays], together: Arrays, measures: Measures) -> None:
    columns = ("cpu", "wall", "training", "peak")
    one = {name: [float(arm[name]) for arm in alone.values()] for name in columns}
    total = {name: max(found) if name == "peak" else sum(found) for name, found in one.items()}
    ratio = float(together["cpu"]) / total["cpu"]
    rows: list[tuple[object, ...]] = []
    if len(alone) <= 8:
        rows += [(name, *(f"{float(arm[c]):.1f}" for c in columns)) for name, arm in alone.items()]
    rows.append(("one by one", *(f"{total[c]:.1f}" for c in columns)))
    rows.append(("one pass", *(f"{float(together[c]):.1f}" for c in columns)))
    rows.append(("one pass / one by one", *(float(together[c]) / total[c] for c in columns)))
    table(
        f"{own.name}: {len(alone)} domains, the same adapters to the bit",
        ["", "cpu s", "wall s", "in training", "peak MiB"],
        rows,
    )
    peer = "one by one"
    measures.add(own.measure, ratio, "ratio", peer, ratio)
    stem = own.measure.removesuffix("_over_one_by_one")
    measures.add(f"{stem}_cpu_s", float(together["cpu"]), "s")
    measures.add(f"{own.name}_one_by_one_cpu_s", total["cpu"], "s", peer)
    memory = float(together["peak"]) / total["peak"]
    measures.add(f"{own.name}_peak_of_the_pass_over_the_largest_alone", memory, "ratio", peer)


def stacked_steps(quick: bool, measures: Measures) -> None:
    """What batching several domains into one step would gain; this process, one thread."""
    rows: list[tuple[object, ...]] = []
    for own in sizes(quick):
        one, all_at_once = milliseconds(own, 11)
        shape = (own.count, own.batch, own.catalogue, own.dim)
        rows.append((*map(str, shape), f"{one:.1f}", f"{all_at_once:.1f}", all_at_once / one))
        measures.add(f"step_stacked_over_loop_{own.count}_domains", all_at_once / one, "ratio")
    table(
        "A step of many domains, ms of processor time",
        [
            "domains",
            "rows each",
            "items each",
            "d",
            "one by one",
            "stacked",
            "stacked / one by one",
        ],
        rows,
    )


def made(domains: int, folder: Path) -> Set:
    """Small made domains, drawn from one world."""
    names = tuple(f"d{number:02}" for number in range(domains))
    logs = folder / f"made-{domains}.parquet"
    logs.parent.mkdir(parents=True, exist_ok=True)
    make_logs(names, users=100 * domains, items=1000, interactions=400 * domains).write_parquet(
        logs
    )
    pretrain, adapt = ("--epochs", "2", "--set", "model.dim=64"), ("--rank", "8")
    return Set("made", logs, names, pretrain, adapt, "made_in_one_pass_over_one_by_one")


def xmarket(full: bool) -> Set:
    """The seven markets."""
    logs = data_folder("xmarket_electronics") / "interactions.parquet"
    markets = tuple(pl.scan_parquet(logs).select("domain").unique().collect()["domain"].sort())
    pretrain = XMARKET_SPLIT if full else (*XMARKET_SPLIT, "--epochs", "5")
    return Set("xmarket", logs, markets, pretrain, ("--rank", "8"), NAME)


def one_pass(options: argparse.Namespace, measures: Measures) -> None:
    """The domains one by one and all in one pass."""
    cache = Cache.of(options.work, "lora-quick" if options.quick else "lora")
    stacked_steps(options.quick, measures)
    measure(made(3 if options.quick else 16, cache.folder), cache, measures)
    if options.quick:
        measures.leave_out(NAME, "--quick has no real data")
    else:
        measure(xmarket(options.full), cache, measures)


def main() -> None:
    """Measure, print and write."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--only", choices=PARTS, help="one part alone")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    header("Adapters, one thread a process")
    measures = Measures()
    parts = {
        "steps": lambda: step_cost(options.quick, measures),
        "domains": lambda: mixed_batches(options.quick, measures),
        "switching": lambda: switching(options.quick, measures),
        "size": lambda: sizes_on_disk(options.quick, measures),
        "pass": lambda: one_pass(options, measures),
    }
    for name in [options.only] if options.only else PARTS:
        if name in WITH_PEER and find_spec("peft") is None:
            measures.leave_out(f"the part {name}", "PEFT is missing; run make install-bench")
        else:
            parts[name]()
    measures.finish(options.json)


if __name__ == "__main__":
    main()
