"""`lorarec ui`: up on loopback, and gone afterwards."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorarec.cli.main import _run


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_it_comes_up_on_the_projects_store_and_stops(project: Path) -> None:
    port = free_port()
    said = project / "said.txt"
    with open(said, "w") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "lorarec"), "ui", "--port", str(port)],
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while "MLflow is at" not in said.read_text() and time.monotonic() < deadline:
                assert process.poll() is None, said.read_text()
                time.sleep(0.2)
            assert f"http://127.0.0.1:{port} on sqlite:///{project}" in said.read_text()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            assert "MLflow" in connection.getresponse().read().decode()
            connection.close()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert process.returncode == 130
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_an_occupied_port_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert _run(["ui", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"Port {port} on 127.0.0.1 cannot be had" in said
    assert "lorarec ui --port" in said


def test_a_store_on_a_server_has_its_ui_there(
    bare_project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert _run(["ui"]) == 0
    assert "Open https://mlflow.example" in capsys.readouterr().err


def test_a_broken_store_is_refused_before_the_server_starts(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "mlruns" / "mlflow.db").write_bytes(b"broken" * 1000)
    assert _run(["ui", "--port", str(free_port())]) == 2
    assert "not a whole SQLite database" in capsys.readouterr().err
