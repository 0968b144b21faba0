"""Whether a store on another machine answers, asked before MLflow does, which asks for minutes."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

from lorarec.errors import PassingError

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}
"""By the scheme of a URI, without its driver: where it is unless the URI says."""
SECONDS = 5.0


def check_reached(uri: str, seconds: float = SECONDS) -> None:
    """Refuse a store whose port takes no connection.

    What is not reached by host and port is passed over: files, sockets in the file system, several
    hosts in one URI, and servers behind a proxy.

    Args:
        uri: Of the store.
        seconds: To wait for an answer.

    Raises:
        PassingError: Nothing answers there.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # several hosts, or no URI; MLflow says what it makes of it
        return
    kind = parts.scheme.partition("+")[0]
    if kind not in PORTS or not host or "," in host:
        return
    if kind in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    port = port or PORTS[kind]
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as error:
        raise PassingError(
            f"The MLflow store {without_password(uri)} does not answer: {host} on port {port}: "
            f"{error.strerror or error}. Expected a store that answers within {seconds:.0f} s. "
            f"Start the server, or correct MLFLOW_TRACKING_URI or tracking.uri."
        ) from error


def without_password(uri: str) -> str:
    """A URI as it may be shown: its password is left out."""
    head, slashes, rest = uri.partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{head}{slashes}{user}{':***' if colon else ''}{at}{place}" if at else uri
