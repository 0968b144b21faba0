"""A server on a socket: who may ask it, and how it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.errors import ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN_VARIABLE = "LORAREC_TOKEN"
SHORTEST_TOKEN = 16
SECONDS_TO_END = 10
MOST_CONNECTIONS = 512
"""Connections and waiting requests; more of them get a 503 at once."""


def need_server() -> None:
    """Refuse where the libraries of a server are missing.

    Raises:
        ConfigError: They are.
    """
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"A server needs {' and '.join(missing)}, which this installation lacks. Expected "
            f"both; install them: pip install 'lorarec[serve]'"
        )


def is_loopback(host: str) -> bool:
    """Whether a name or an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def read_token(
    host: str, file: Path | None, environ: Mapping[str, str] | None = None
) -> str | None:
    """The token that requests must bring; None where a loopback server asks for none.

    Args:
        host: What the server is bound to.
        file: Holds the token; None takes the variable `LORAREC_TOKEN`.
        environ: Environment variables; None is the process's own.

    Raises:
        ConfigError: The server is bound beyond loopback without one, or it is too short, or no
            header can carry it, or the file cannot be read.
    """
    environ = os.environ if environ is None else environ
    if file is None:
        token, where = environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    else:
        try:
            token, where = file.read_text().strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The token's file {file} cannot be read: {error}. Expected one line of text."
            ) from error
    if not token and file is None:
        if is_loopback(host):
            return None
        raise ConfigError(
            f"A server on {host} can be reached from other machines and has no token. Expected "
            f"--token-file FILE, or {TOKEN_VARIABLE} in the environment; or stay on 127.0.0.1."
        )
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"The token of {where} has {len(token)} characters or some that no header carries. "
            f"Expected {SHORTEST_TOKEN} or more, ASCII; such as of: openssl rand -hex 32"
        )
    return token


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket of a TCP server that is bound and not yet listening.

    Raises:
        ConfigError: The port or the address cannot be had.
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio turns Nagle's algorithm off for none but such, and with it on
    # every answer waits 40 ms for an acknowledgement.
    server = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise ConfigError(
            f"Port {port} on {host} cannot be had: {error.strerror or error}. Expected a free "
            f"port of this machine. Choose another: lorarec serve --port "
            f"{port + 1 if 0 < port < 65535 else 8001}"
        ) from error
    return server


def serve(app: FastAPI, bound: socket.socket, told: Callable[[], None]) -> None:
    """Answer until a signal asks to end; what has begun is answered first.

    Args:
        app: From `make_app`.
        bound: From `bound_socket`.
        told: Called once it answers.
    """
    import uvicorn

    class Server(uvicorn.Server):
        """Ends well on SIGTERM and Ctrl-C, where uvicorn would raise the signal again."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                told()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            asked = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in asked}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    Server(config).run([bound])
