"""Retrainings killed at many moments: is anything different after one plain rerun?"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.common import ROOT, Measures, say, table
from lorarec.config import Tracking
from lorarec.data.synthetic import make_logs
from lorarec.jobs.listener import SILENT
from lorarec.jobs.named_adapter import base_of, find_adapter, load_all
from lorarec.pipeline import history
from lorarec.pipeline.points import POINTS, STOP_AT
from lorarec.storage import UNFINISHED
from lorarec.tracking.champions import reign
from lorarec.tracking.model_names import BASE_MODEL
from lorarec.tracking.registry import finished, running_runs
from lorarec.tracking.store import Store, open_store
from lorarec.tracking.versions import registered_domains, registered_model, versions

DOMAINS = ("books", "movies", "games")
SETTINGS = """
[pipeline]
logs = ["logs"]
window_days = 10
min_new_rows = 1
base_max_age_days = 1e-6
index = "Flat"
[model]
dim = 8
[train]
epochs = 2
batch_size = 512
threads = 1
device = "cpu"
[adapt]
epochs = 2
rank = 2
learning_rate_grid = [1.0]
[gate]
must_beat = ["champion"]
min_effect = -1.0
[evaluate]
bootstrap = 20
"""
COMMAND = ["pipeline", "run"]
SEED = 0


def kill_rounds(rounds: int, work: Path, measures: Measures) -> None:
    """Kill a retraining so many times, half at any moment, half at a commit point."""
    folder = work / "kills"
    shutil.rmtree(folder, ignore_errors=True)
    with Forks() as forks:
        template = make_template(folder, forks)
        found = Kills(forks, template, folder / "project")
        found.measure_unbroken()
        rng = random.Random(SEED)
        for place in range(rounds):
            if place % 2 == 0:
                found.at_point(found.points[rng.randrange(len(found.points))])
            else:
                found.at_moment(rng.uniform(0, found.seconds))
            say(f"round {place + 1} of {rounds}: {found.told[-1][1:]}")
    table(
        f"Killed {len(found.told)} times; unbroken it takes {found.seconds:.1f} s and passes "
        f"{found.passed:,} commit points",
        ("round", "killed at", "alive", "lost"),
        found.told,
    )
    print(f"A reader loaded champions {found.reads:,} times meanwhile.")
    alive = sum(1 for row in found.told if row[2] == "yes")
    measures.add("kill_rounds", alive, "rounds")
    measures.add("kill_lost", sum(1 for row in found.told if row[3] != "nothing"), "rounds")
    measures.add("kill_reads", found.reads, "reads")


class Forks:
    """Commands of lorarec that begin at once; see `forks.py`."""

    def __enter__(self) -> Forks:
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "forks.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ,
        )  # fmt: skip
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def begin(self, cwd: Path, environ: dict[str, str] | None = None) -> int:
        """Begin the retraining in a folder; the number of its process and group."""
        asked = {"cwd": str(cwd), "environ": environ or {}, "arguments": COMMAND}
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        return int(self._read())

    def end(self) -> int:
        """The exit code of the one that was begun; below 0 the signal that killed it."""
        return os.waitstatus_to_exitcode(int(self._read()))

    def run(self, cwd: Path, environ: dict[str, str] | None = None) -> int:
        """Begin it and wait."""
        self.begin(cwd, environ)
        return self.end()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("benchmarks/forks.py ended. Expected it to start commands.")
        return line.strip()


def make_template(folder: Path, forks: Forks) -> Path:
    """A project that was retrained once and has new logs, apart from where rounds are played."""
    project = folder / "project"
    (project / "logs").mkdir(parents=True)
    (project / "lorarec.toml").write_text(SETTINGS)
    logs = make_logs(DOMAINS, users=150, items=100, interactions=5000, days=150)
    time_, last = pl.col("timestamp"), int(logs["timestamp"].max())  # type: ignore[arg-type]
    for name, rows in (
        ("a.parquet", logs.filter(time_ <= last - 20 * 86_400)),
        ("b.parquet", logs.filter(time_ > last - 20 * 86_400)),
    ):
        if name == "b.parquet" and forks.run(project):
            raise SystemExit((project / "out.log").read_text())
        rows.write_parquet(project / "logs" / name)
    shutil.copytree(project, folder / "template", symlinks=True)
    return folder / "template"


@dataclass
class Kills:
    """Rounds in one folder, as MLflow keeps absolute paths; each begins as the template."""

    forks: Forks
    template: Path
    project: Path
    seconds: float = 0.0
    points: list[str] = field(default_factory=list)
    """`NAME:N` of every commit point of the unbroken run, each name as often as any other."""
    passed: int = 0
    """How many the unbroken run passes."""
    unbroken: dict[str, Any] = field(default_factory=dict)
    told: list[tuple[object, ...]] = field(default_factory=list)
    """Round, where it was killed, whether it was alive then, what is lost."""
    reads: int = 0

    def measure_unbroken(self) -> None:
        """What a run that nobody kills comes to, how long it takes, and which points it passes."""
        self._anew()
        passed = self.project.parent / "points.txt"
        began = time.monotonic()
        code = self.forks.run(self.project, {POINTS: str(passed)})
        self.seconds = time.monotonic() - began
        assert code == 0, (self.project / "out.log").read_text()
        names = passed.read_text().split()
        self.passed, self.points = len(names), _evenly(names)
        self.unbroken = state(self.project)

    def at_moment(self, seconds: float) -> None:
        """A round that is killed so long after its beginning."""
        self._anew()
        with self._reading() as reader:
            pid = self.forks.begin(self.project)
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._again(f"{seconds:.2f} s", self.forks.end(), reader)

    def at_point(self, point: str) -> None:
        """A round that kills itself at a commit point."""
        self._anew()
        with self._reading() as reader:
            self._again(point, self.forks.run(self.project, {STOP_AT: point}), reader)

    def _again(self, where: str, code: int, reader: Reader) -> None:
        """One plain rerun, and what is different after it."""
        again = self.forks.run(self.project)
        lost = [] if again == 0 else [f"the rerun ended with {again}"]
        found = state(self.project)
        lost += [key for key, value in self.unbroken.items() if found[key] != value]
        lost += sorted({reader.failed} - {""})
        self.reads += reader.reads
        alive = "yes" if code == -signal.SIGKILL else "no"
        self.told.append((len(self.told) + 1, where, alive, "; ".join(lost) or "nothing"))

    def _reading(self) -> Reader:
        return Reader(self.project)

    def _anew(self) -> None:
        shutil.rmtree(self.project, ignore_errors=True)
        shutil.copytree(self.template, self.project, symlinks=True)


def _evenly(passed: list[str]) -> list[str]:
    """Passings of points such that each name has the same chance to be drawn."""
    counted: dict[str, list[str]] = defaultdict(list)
    for name in passed:
        counted[name].append(f"{name}:{len(counted[name]) + 1}")
    most = max(map(len, counted.values()))
    return [own[place % len(own)] for own in counted.values() for place in range(most)]


class Reader:
    """Loads the champion of every domain again and again, as a server would."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.reads, self.failed = 0, ""

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        store = store_of(self._project, write=False)
        while not self._stop.is_set():
            for domain in DOMAINS:
                try:
                    named = find_adapter(store, f"models:/lorarec-{domain}@champion", None, SILENT)
                    load_all([named], base_of(store, named, None, SILENT))
                except Exception as error:
                    self.failed = f"a reader: {type(error).__name__}: {error}"
                    return
                self.reads += 1
            self._stop.wait(0.02)


def store_of(project: Path, write: bool = True) -> Store:
    """The store of a project folder, by a name of its own: MLflow keeps connections by name, also
    to a file that was replaced."""
    link = project.parent / f"by-{uuid.uuid4().hex[:8]}"
    link.symlink_to(project)
    uri = f"sqlite:///{link / 'mlruns' / 'mlflow.db'}"
    return open_store(Tracking(uri=uri), environ={}, write=write)


def state(project: Path) -> dict[str, Any]:
    """All that must be the same after a rerun, and what must not be left."""
    store = store_of(project)
    domains = registered_domains(store)
    manifest = json.loads((project / "prepared" / "manifest.json").read_text())
    bases = list(versions(store, BASE_MODEL))
    named = {
        name: find_adapter(store, f"models:/lorarec-{name}@champion", None, SILENT)
        for name in domains
    }
    verdicts = [(r.domain, r.verdict) for r in history.read(project / "retraining")]
    base = registered_model(store, BASE_MODEL)
    return {
        "rows of the data set": sum(each["rows"] for each in manifest["generations"]),
        "digest of the data set": manifest["generations"][-1]["digest"],
        "digests of bases": [version.tag("digest") for version in bases],
        "digests of adapters": {name: each.info.digest for name, each in named.items()},
        "vocabularies": {
            name: (each.info.user_vocabulary, each.info.item_vocabulary)
            for name, each in named.items()
        },
        "aliases": {name: reign(store, name).version for name in domains},
        "alias of the base": base.aliases if base else None,
        "versions": {name: len(versions(store, f"lorarec-{name}")) for name in domains},
        "verdicts": sorted(pair for pair in verdicts if pair[1] != history.IDLE),
        "trainings": sum(1 for _ in finished(store, ["adapt", "pretrain"])),
        "runs that are left": [run.run_id for run in running_runs(store)],
        "files that are left": [str(path) for path in project.rglob(UNFINISHED)],
    }
