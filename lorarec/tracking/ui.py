"""MLflow's own web server on loopback, started and stopped with the block that needs it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Tracking
from lorarec.errors import ConfigError, StoreError
from lorarec.tracking.database import check_database, database_path, reading_uri
from lorarec.tracking.quiet import QUIET
from lorarec.tracking.reach import without_password
from lorarec.tracking.refusals import refusals
from lorarec.tracking.store import open_store, tracking_uri

HOST = "127.0.0.1"
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 10.0


@dataclass(frozen=True)
class Server:
    """A running MLflow UI.

    Attributes:
        address: What a browser opens.
        store: The store it shows.
        process: MLflow's server.
    """

    address: str
    store: str
    process: subprocess.Popen[bytes]

    def wait(self) -> int:
        """Wait until the server ends by itself; its exit status."""
        # In steps: with Polars loaded, Ctrl-C lets a system call go on that it came in, so that a
        # plain wait would not hear of it before the server has ended.
        while (status := self.process.poll()) is None:
            time.sleep(0.1)
        return status


def ui_address(tracking: Tracking) -> str | None:
    """Where the UI is already, when the store is an MLflow server; else None."""
    uri = tracking_uri(tracking)
    return uri if uri.startswith(("http://", "https://")) else None


@contextmanager
def serving(tracking: Tracking, port: int) -> Iterator[Server]:
    """The MLflow UI on 127.0.0.1 for the length of the block.

    Args:
        tracking: The settings' section; an absent SQLite store is made.
        port: TCP port.

    Raises:
        ConfigError: The port is occupied.
        StoreError: The store is broken, or the server did not come up.
    """
    _check_port(port)
    uri = tracking_uri(tracking)
    database = database_path(uri)
    if database is None or not database.exists():
        open_store(tracking)
    else:
        with refusals(uri):
            check_database(database, write=False)
    root = (Path("mlruns") if database is None else database.parent).absolute() / "artifacts"
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--default-artifact-root", str(root)]
    quiet = {name: value for name, value in QUIET.items() if name != "MLFLOW_LOGGING_LEVEL"}
    environ = {**quiet, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    environ["MLFLOW_BACKEND_STORE_URI"] = reading_uri(uri)  # its password is not for all to see
    with tempfile.TemporaryFile() as log:
        # A session of its own, so that the server's workers end with it and not after it.
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if not _answers(process, port):
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                raise StoreError(
                    f"The MLflow UI did not come up on {address} within {SECONDS_TO_START:.0f} s. "
                    f"Expected it to answer; it last said: {' | '.join(said[-3:]) or 'nothing'}"
                )
            yield Server(address, without_password(uri), process)
        finally:
            _stop(process)


def _check_port(port: int) -> None:
    with socket.socket() as client, socket.socket() as server:
        client.settimeout(1.0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken = client.connect_ex((HOST, port)) == 0
            if not taken:
                server.bind((HOST, port))
        except OSError:
            taken = True
    if taken:
        raise ConfigError(
            f"Port {port} on {HOST} cannot be had: something else uses it. Expected a free port. "
            f"Choose another: lorarec ui --port {port + 1 if port < 65535 else 5001}"
        )


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return True
        connection.close()
        time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
