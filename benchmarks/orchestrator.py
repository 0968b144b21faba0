"""What Dagster costs a retraining: one in this process, beside the plain function calls."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from statistics import median

from benchmarks.common import Measures, say, table
from lorarec.config import Settings, load_settings
from lorarec.data.synthetic import make_logs
from lorarec.pipeline.events import opened
from lorarec.pipeline.retrain import Ask, retrain
from lorarec.pipeline.ui import QUIET, prepare_home
from lorarec.tracking.database import make_database
from lorarec.tracking.store import open_store


def orchestrator(rounds: int, work: Path, settings: str, measures: Measures) -> None:
    """Retrain a made project of two domains from nothing, in turn plainly and by Dagster.

    Imports, the empty stores of MLflow and Dagster and the page's pictures are left out of both.

    Args:
        rounds: Pairs that count; one more is run before them.
        work: Folder to work in.
        settings: Text of lorarec.toml.
        measures: Take `orchestrator_seconds`: the median of the pairs' differences.
    """
    folder = work / "orchestrator"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_database(folder / "empty.db")
    make_logs(("books", "games"), users=200, items=120, interactions=6000).write_parquet(
        folder / "logs.parquet"
    )
    (folder / "lorarec.toml").write_text(settings)
    read = load_settings(folder / "lorarec.toml", environ={})
    rows = []
    here = Path.cwd()
    try:
        for number in range(rounds + 1):
            plain = _timed(folder, f"plain{number}", read, False)
            ours = _timed(folder, f"dagster{number}", read, True)
            say(f"pair {number} of {rounds}: {plain:.2f} s plainly, {ours:.2f} s by Dagster")
            rows.append((number, plain, ours, ours - plain))
    finally:
        os.chdir(here)
    table("A retraining of two domains, s", ("pair", "plain", "Dagster", "more"), rows[1:])
    measures.add("orchestrator_seconds", median(row[3] for row in rows[1:]), "s", "plain calls")


def _timed(folder: Path, name: str, settings: Settings, by_dagster: bool) -> float:
    """Seconds of one retraining in a project of its own."""
    project = folder / name
    (project / "logs").mkdir(parents=True)
    (project / "mlruns").mkdir()
    shutil.copy(folder / "empty.db", project / "mlruns" / "mlflow.db")
    shutil.copy(folder / "logs.parquet", project / "logs")
    os.chdir(project)
    ask = Ask(page=False)
    if not by_dagster:
        store = open_store(settings.tracking, environ={})
        began = time.perf_counter()
        retrain(settings, store, int(time.time()), ask)
        return time.perf_counter() - began
    os.environ.update(QUIET)
    from lorarec.pipeline.definitions import definitions, run_in_process

    open_store(settings.tracking, environ={})
    with opened(prepare_home(settings)) as instance:
        instance.get_dynamic_partitions("domain")  # so that its tables are there
        began = time.perf_counter()
        found = run_in_process(definitions(settings, ask=ask), instance)
        assert found.success
        return time.perf_counter() - began
