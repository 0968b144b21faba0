"""A store that is not there is told soon and without its password; nothing waits for a network."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.errors import PassingError, StoreError
from lorarec.tracking import Store, open_store
from lorarec.tracking.reach import check_reached, without_password
from lorarec.tracking.refusals import refusals


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql", "http"])
def test_a_server_that_is_down_is_told_at_once(
    scheme: str, bare_project: Path, settings: Settings
) -> None:
    uri = f"{scheme}://me:secret@127.0.0.1:9/x"
    started = time.monotonic()
    with pytest.raises(PassingError, match=r"does not answer.*Start the server") as told:
        open_store(settings.with_options({"tracking.uri": uri}).tracking)
    assert time.monotonic() - started < 5
    assert "secret" not in str(told.value)
    assert "me:***@" in str(told.value)


@pytest.mark.parametrize(
    "uri", ["sqlite:///x.db", "postgresql:///x?host=/tmp", "postgresql://a:1,b:2/x", "file:./x"]
)
def test_what_has_no_port_is_not_asked(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))
    check_reached(uri)


def test_behind_a_proxy_the_proxy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))
    check_reached("http://mlflow.example:5000")


def test_only_the_password_is_left_out() -> None:
    assert without_password("postgresql://u:p:@q@h:1/x") == "postgresql://u:***@h:1/x"
    assert without_password("http://h:1") == "http://h:1"


def test_a_missing_driver_says_what_to_install() -> None:
    with pytest.raises(StoreError, match=r"lorarec\[postgres\]"), refusals("postgresql://h/x"):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
    with pytest.raises(ModuleNotFoundError), refusals("postgresql://h/x"):
        raise ModuleNotFoundError("No module named 'ours'", name="ours")


def test_a_locked_store_is_told(store: Store, project: Path) -> None:
    engine = store.client._tracking_client.store.engine  # a wait of seconds is no test's matter
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 5000
    engine.dispose()
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(project / "mlruns" / "mlflow.db", timeout=0.1)) as ours:  # noqa: SIM117
            with pytest.raises(StoreError, match="holds it locked"), refusals(store.uri):
                ours.execute("DELETE FROM runs")


def test_a_run_deleted_while_it_is_written_to_is_told(store: Store) -> None:
    def deleted() -> None:
        with store.run("x", "evaluate") as run:
            store.client.delete_run(run.id)
            run.log_metrics({"a": 1.0})

    with pytest.raises(StoreError, match="deleted while it was written to"):
        deleted()


def test_without_a_network_a_run_is_recorded_and_nothing_is_asked(project: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(self, address, *rest):\n"
        "    raise SystemExit(f'asked for {address}')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "socket.getaddrinfo = lambda *names, **_: refuse(None, names)\n"
        "import os, threading\n"
        "from lorarec.config import load_settings\n"
        "from lorarec.tracking import open_store\n"
        "with open_store(load_settings().tracking).run('x', 'adapt'): pass\n"
        "import mlflow.telemetry.client as client\n"
        "assert client.get_telemetry_client() is None\n"
        "assert not [t for t in threading.enumerate() if 'elemetry' in t.name]\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environ,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
