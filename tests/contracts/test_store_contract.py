"""What every kind of store does: an SQLite file, an MLflow server, PostgreSQL.

PostgreSQL is tried where LORAREC_TEST_POSTGRES holds the URI of a database that may be filled, such
as postgresql+psycopg://user@127.0.0.1/lorarec.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.errors import ConfigError, NotFoundError
from lorarec.storage import read_json, write_json
from lorarec.tracking import Store, find_run, newest, open_store, recent_runs, standard_tags
from lorarec.tracking.champions import deciding, move, reign
from lorarec.tracking.history import metric_history
from lorarec.tracking.inputs import Input
from lorarec.tracking.registry import nested_runs, resolve
from lorarec.tracking.versions import find_version, register, tag_version, versions
from lorarec.tracking.view import arranged_page

VARIABLE = "LORAREC_TEST_POSTGRES"
POSTGRES = os.environ.get(VARIABLE)  # now, as tests work without variables from outside
KINDS = ("sqlite", "server", "postgres")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[str]:
    """An MLflow server of its own, which alone writes artifacts, as on another machine."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(store_template, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environ = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, env=environ, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, project: Path) -> str:
    """Of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{project}/mlruns/mlflow.db"
    if request.param == "server":
        return str(request.getfixturevalue("server"))
    if POSTGRES is None:
        pytest.skip(f"{VARIABLE} is not set: no PostgreSQL to try")
    return POSTGRES


@pytest.fixture
def store(uri: str, settings: Settings) -> Store:
    """With an experiment of its own."""
    options = {"tracking.uri": uri, "tracking.experiment": f"e-{uuid.uuid4().hex[:8]}"}
    return open_store(settings.with_options(options).tracking)


def test_a_team_records_finds_registers_and_rolls_back(store: Store, settings: Settings) -> None:
    """One test, as a server takes its time to start."""
    domain = f"men's/wear {uuid.uuid4().hex[:6]}"
    tags = standard_tags(domain=domain, rank=2, base_digest="ab")
    digest = "0123456789abcdef" * 4
    with store.run("sweep", "sweep", params=settings.flat(), tags=tags, config={"a": 1}) as parent:
        with store.run("one", "adapt", tags=tags, parent=parent.id) as run:
            run.log_inputs(Input("logs", digest, "training", {"paths": ["a"]}, {"rows": 3}))
            for step in range(3):
                run.log_metrics({"valid_recall_at_20": step / 10}, step=step)
            with run.artifact_folder("adapter") as folder:
                write_json(folder / "adapter.json", {"digest": digest})
        with suppress(ZeroDivisionError), store.run("two", "adapt", parent=parent.id) as failed:
            raise ZeroDivisionError
    assert [each.name for each in nested_runs(store, parent.id)] == ["one", "two"]
    assert find_run(store, failed.id).status == "FAILED"
    info = newest(store, "adapt", domain=domain)
    assert info is not None
    assert (info.run_id, info.status, info.rank) == (run.id, "FINISHED", 2)
    assert metric_history(store, run.id, "valid_recall_at_20") == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert find_run(store, parent.id).params["train.epochs"] == str(settings.train.epochs)
    assert {each.name for each in recent_runs(store)} == {"sweep", "one", "two"}
    (given,) = store.client.get_run(run.id).inputs.dataset_inputs
    assert given.dataset.digest == digest[:36]

    folder, _ = resolve(store, run.uri, "adapter")
    assert read_json(folder / "adapter.json") == {"digest": digest}
    name = f"lorarec-{uuid.uuid4().hex[:8]}"
    first = register(store, name, info, "adapter", {"lorarec.digest": digest})
    second = register(store, name, info, "adapter", {"lorarec.digest": digest})
    assert (first.number, second.number) == (1, 2)
    tag_version(store, second, {"lorarec.decision": "promote"})
    moved = name.removeprefix("lorarec-")
    for number in (1, 2):
        with deciding(store):
            move(store, reign(store, moved), number, "promote")
    served = f"models:/{name}@champion"
    assert find_version(store, served).tag("decision") == "promote"
    assert read_json(resolve(store, served, "adapter")[0] / "adapter.json") == {"digest": digest}
    now = reign(store, moved)
    below = now.stack[1]
    with deciding(store):
        move(store, now, below.version, "rollback", below=below.below)
    assert find_version(store, served).number == 1
    assert [event.how for event in reign(store, moved).past] == ["rollback", "promote", "promote"]
    assert len(versions(store, name, digest)) == 2

    assert "viewStateShareKey" in arranged_page(store, [parent.id])
    store.client.delete_run(run.id)
    with pytest.raises(NotFoundError, match="mlflow runs restore"):
        resolve(store, served, "adapter")
    with pytest.raises(NotFoundError, match="has no alias 'challenger'"):
        find_version(store, f"models:/{name}@challenger")
    with pytest.raises(ConfigError, match="Expected 2 to"):
        arranged_page(store, [failed.id])
