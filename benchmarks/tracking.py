"""What tracking costs: its share of an adaptation, `--help`, and a registry of 1,000 adapters.

    python benchmarks/tracking.py [--json FILE] [--quick | --full]

An adapter of the made sample is trained for about a minute (--quick: a few seconds); the seconds in
MLflow's client are divided by those of
all. `lorarec --help` is timed beside `python -c pass`, in turns, by medians. A store holds 10 and
then 1,000 registered domains (--quick: 40), each with a champion; one is promoted and one found
and loaded, by medians, and all are listed, told by the adapter.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, Measures, header, parser, say, table

FEW = 10


@contextmanager
def timed_client() -> Iterator[list[float]]:
    """Add up the seconds in the outermost calls of MLflow's client."""
    from mlflow import MlflowClient

    spent, depth = [0.0], [0]

    def timing(call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            depth[0] += 1
            began = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.perf_counter() - began

        return timed

    own = {name: call for name, call in vars(MlflowClient).items()
           if callable(call) and not name.startswith("_")}  # fmt: skip
    for name, call in own.items():
        setattr(MlflowClient, name, timing(call))
    try:
        yield spent
    finally:
        for name, call in own.items():
            setattr(MlflowClient, name, call)


def share(measures: Measures, quick: bool) -> None:
    """Tracking's share of one `adapt`; imports and the store's first opening are before it."""
    from lorarec.config import Settings
    from lorarec.jobs.adapt import adapt
    from lorarec.jobs.pretrain import pretrain
    from lorarec.tracking import open_store

    size = {"model.dim": 32, "train.epochs": 3, "adapt.epochs": 4 if quick else 25,
            "adapt.patience": 25, "adapt.rank": 8, "train.threads": 1}  # fmt: skip
    settings = Settings().with_options(size)
    store = open_store(settings.tracking)
    pretrain(settings, [ROOT / "data" / "sample"], store)
    with timed_client() as spent:
        began = time.perf_counter()
        adapt(settings, "books", store)
        took = time.perf_counter() - began
    table("One adapt", ["", "seconds"], [("all", took), ("MLflow's client", spent[0])])
    measures.add("tracking_share", spent[0] / took, "ratio", "the whole adapt", spent[0] / took)
    measures.add("adapt_seconds", took, "s")


def help_seconds(measures: Measures, turns: int) -> None:
    """`lorarec --help` beside an empty Python."""
    commands = {"help": ["-m", "lorarec", "--help"], "pass": ["-c", "pass"]}
    found: dict[str, list[float]] = {name: [] for name in commands}
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(turns):
        for name, arguments in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=environ, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
            found[name].append(time.perf_counter() - began)
    help_, empty = (statistics.median(found[name]) for name in ("help", "pass"))
    table("Starting", ["", "median s"], [("lorarec --help", help_), ("python -c pass", empty)])
    measures.add("help_seconds", help_, "s", "python -c pass", help_ / empty)


def registry(measures: Measures, many: int, turns: int) -> None:
    """Few and many registered adapters: the same calls, and how they grow."""
    from lorarec.config import Settings
    from lorarec.storage import write_json
    from lorarec.tracking import find_run, open_store, standard_tags
    from lorarec.tracking.champions import deciding, move, reign
    from lorarec.tracking.model_names import model_name
    from lorarec.tracking.registry import resolve
    from lorarec.tracking.versions import register, registered_domains

    store = open_store(Settings().tracking)

    def add(number: int) -> None:
        domain = f"domain {number}"
        tags = standard_tags(domain=domain)
        with (
            store.run(f"adapt-{number}", "sum", tags=tags) as run,
            run.artifact_folder("adapter") as folder,
        ):
            write_json(folder / "adapter.json", {"digest": "x"})
        version = register(store, model_name(domain), find_run(store, run.id), "adapter", {})
        move(store, reign(store, domain), version.number, "promote")

    def promote() -> None:
        with deciding(store):
            move(store, reign(store, "domain 3"), 1, "promote")

    calls: dict[str, Callable[[], object]] = {
        "list": lambda: registered_domains(store),
        "promote": promote,
        "load": lambda: resolve(store, f"models:/{model_name('domain 4')}@champion", "adapter"),
    }
    seconds: dict[tuple[str, int], float] = {}
    made = 0
    for size in (FEW, many):
        while made < size:
            add(made)
            made += 1
        say(f"registry: {size} adapters")
        for name, call in calls.items():
            taken = []
            for _ in range(turns):
                began = time.perf_counter()
                call()
                taken.append(time.perf_counter() - began)
            seconds[name, size] = statistics.median(taken)
    rows = []
    for name in calls:
        few, lots = (1000 * seconds[name, size] for size in (FEW, many))
        ratio = lots / many / (few / FEW) if name == "list" else lots / few
        rows.append((name, few, lots, ratio))
        each = "_each" if name == "list" else ""
        measures.add(f"registry_{name}{each}_growth", ratio, "ratio", f"{FEW} adapters", ratio)
    columns = ["", f"ms of {FEW}", f"ms of {many}", "growth (list: by adapter)"]
    table("Registered adapters", columns, rows)
    measures.add("registry_adapters", many, "adapters")


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    header("Tracking")
    measures, here = Measures(), Path.cwd()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        help_seconds(measures, 3 if options.quick else 15)
        share(measures, options.quick)
        registry(measures, 40 if options.quick else 1000, 5 if options.quick else 15)
        os.chdir(here)
    measures.finish(options.json)


if __name__ == "__main__":
    main()
