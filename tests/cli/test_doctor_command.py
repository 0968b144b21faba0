"""`lorarec doctor`."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from world import Ended, World, store_in

from lorarec.tracking import Store, find_run
from lorarec.tracking.processes import HOST

Ran = Callable[..., Ended]
KILLED = textwrap.dedent(
    """
    import os, signal
    from lorarec.config import Tracking
    from lorarec.tracking import open_store

    store = open_store(Tracking())
    with store.run("adapt-books", "adapt") as run, run.artifact_folder("adapter") as folder:
        (folder / "half").write_text("written")
        print(run.id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
)


def begun(store: Store, host: str | None = None) -> str:
    """A run that this process began and does not end; of another host where one is named."""
    run = store.client.create_run(str(store.experiment_id), tags={"lorarec.kind": "adapt"})
    if host is not None:
        store.tag(run.info.run_id, {HOST: host})
    return str(run.info.run_id)


def test_a_run_that_a_killed_process_left_is_closed(project: Path, ran: Ran) -> None:
    left = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    run_id = left.stdout.strip()
    store = store_in(project)
    assert find_run(store, run_id).status == "RUNNING"
    folder = Path(find_run(store, run_id).artifact_uri)
    assert len(list(folder.iterdir())) == 1

    looked = ran("doctor", "--dry-run", "--json")
    assert looked.code == 1
    assert looked.json["running"][0]["process"] == "gone"
    assert find_run(store, run_id).status == "RUNNING"

    closed = ran("doctor")
    assert closed.code == 0
    assert "closed as killed, 1 unfinished removed" in " ".join(closed.out.split())
    assert find_run(store, run_id).status == "KILLED"
    assert find_run(store, run_id).ended is not None
    assert list(folder.iterdir()) == []
    again = ran("doctor", "--json")
    assert (again.code, again.json["running"]) == (0, [])


def test_a_run_in_progress_is_never_closed(project: Path, ran: Ran) -> None:
    with store_in(project).run("x", "adapt") as run:
        found = ran("doctor", "--all", "--json")
        assert find_run(store_in(project), run.id).status == "RUNNING"
    assert found.code == 0
    assert [(r["process"], r["closed"]) for r in found.json["running"]] == [("alive", False)]


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_where_nobody_can_tell_a_run_is_closed_only_if_asked(
    project: Path, ran: Ran, host: str | None
) -> None:
    store = store_in(project)
    run_id = begun(store, host)
    for given, code, status in (
        ((), 1, "RUNNING"),
        (("--older-than", "1h"), 1, "RUNNING"),
        (("--all",), 0, "KILLED"),
    ):
        assert ran("doctor", *given).code == code
        assert find_run(store, run_id).status == status


def test_one_that_began_long_ago_is_closed_by_its_age(project: Path, ran: Ran) -> None:
    store = store_in(project)
    run_id = begun(store)
    ago = timedelta(days=8) // timedelta(milliseconds=1)
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = start_time - ?", (ago,))
    assert ran("doctor", "--older-than", "2w").code == 1
    assert ran("doctor", "--older-than", "7d").code == 0
    assert find_run(store, run_id).status == "KILLED"
    assert ran("doctor", "--older-than", "soon").code == 2


def test_a_champion_that_cannot_be_used_is_told(world: World, ran: Ran) -> None:
    yes = ("--set", "gate.min_effect=-1")
    assert ran("promote", "--domain", "books", *yes).code == 0
    well = ran("doctor", "--json")
    assert (well.code, well.json["champions"][0]["trouble"]) == (0, None)
    world.store.client.delete_run(world.adapter.removeprefix("runs:/"))
    ill = ran("doctor", "--json")
    assert ill.code == 1
    assert "mlflow runs restore" in ill.json["champions"][0]["trouble"]


def test_where_there_is_no_store_none_is_made(bare_project: Path, ran: Ran) -> None:
    found = ran("doctor")
    assert found.code == 0
    assert "no MLflow store" in found.err
    assert list(bare_project.iterdir()) == []


def test_a_store_of_another_schema_names_the_upgrade(project: Path, ran: Ran) -> None:
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0000deadbeef'")
    found = ran("doctor")
    assert found.code == 2
    assert "mlflow db upgrade" in found.err


def test_a_store_that_is_down_is_told(
    bare_project: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in (("doctor",), ("history", "--domain", "books")):
        found = ran(*command)
        assert found.code == 2
        assert "does not answer" in found.err
