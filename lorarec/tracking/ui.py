"""MLflow's own web server on loopback, started and stopped with the block that needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Tracking
from lorarec.tracking.child_server import HOST, check_port, child_server, ended
from lorarec.tracking.database import check_database, database_path, reading_uri
from lorarec.tracking.quiet import QUIET
from lorarec.tracking.reach import without_password
from lorarec.tracking.refusals import refusals
from lorarec.tracking.store import open_store, tracking_uri


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
        return ended(self.process)


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
    check_port(port, "lorarec ui", 5001)
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
    with child_server("The MLflow UI", command, environ, port, "/health") as process:
        yield Server(address, without_password(uri), process)
