"""A web server of another library on loopback: a child that lives for the length of a block."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from lorarec.errors import ConfigError, StoreError

HOST = "127.0.0.1"
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 10.0


@contextmanager
def child_server(
    name: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    port: int,
    health: str,
    ends_its_own: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until it answers, and end it with all that it started.

    Args:
        name: For the words, such as `The MLflow UI`.
        command: That listens on `HOST` and `port`.
        environ: Its whole environment.
        port: TCP port, which `check_port` has passed.
        health: Path of a page that is there once it is up.
        ends_its_own: Whether the server ends what it started when it alone is asked to.

    Yields:
        The server's process, which answers.

    Raises:
        StoreError: It did not come up; its last words are told.
    """
    with tempfile.TemporaryFile() as log:
        # A session of its own, so that the server's workers end with it and not after it.
        process = subprocess.Popen(
            command, env=dict(environ), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if not _answers(process, port, health):
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                raise StoreError(
                    f"{name} did not come up on http://{HOST}:{port} within "
                    f"{SECONDS_TO_START:.0f} s. Expected it to answer; it last said: "
                    f"{' | '.join(said[-3:]) or 'nothing'}"
                )
            yield process
        finally:
            _stop(process, ends_its_own)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait until a server ends by itself; its exit status."""
    # In steps: with Polars loaded, Ctrl-C lets a system call go on that it came in, so that a
    # plain wait would not hear of it before the server has ended.
    while (status := process.poll()) is None:
        time.sleep(0.1)
    return status


def check_port(port: int, command: str, other: int) -> None:
    """Refuse a port that is taken.

    Args:
        port: TCP port on `HOST`.
        command: That wanted it, such as `lorarec ui`.
        other: What is proposed in place of the last port there is.

    Raises:
        ConfigError: It is.
    """
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
            f"Choose another: {command} --port {port + 1 if port < 65535 else other}"
        )


def _answers(process: subprocess.Popen[bytes], port: int, health: str) -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", health)
            if connection.getresponse().status == http.client.OK:
                return True
        connection.close()
        time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes], ends_its_own: bool) -> None:
    with suppress(ProcessLookupError):
        (os.kill if ends_its_own else os.killpg)(process.pid, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with suppress(ProcessLookupError):  # what is left of its session, if anything
        os.killpg(process.pid, signal.SIGKILL)
