"""The webhook gets the outcome, and one that fails or hangs is told and harms nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.pipeline.alerts import post


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        got: list[Any] = []  # noqa: RUF012
        code, wait = 200, 0.0

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.got.append((self.headers["Content-Type"], json.loads(self.rfile.read(length))))
            time.sleep(self.wait)
            self.send_response(self.code)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    Handler.url = f"http://127.0.0.1:{http.server_port}/hook"  # type: ignore[attr-defined]
    yield Handler
    http.shutdown()
    http.server_close()


def test_the_message_arrives_as_json(server: Any) -> None:
    assert post(server.url, {"ok": True}, 5) == ""
    assert server.got == [("application/json", {"ok": True})]


def test_a_refusal_is_told(server: Any) -> None:
    server.code = 503
    assert "503" in post(server.url, {}, 5)


def test_one_that_hangs_is_left_after_the_limit(server: Any) -> None:
    server.wait = 1.0
    began = time.monotonic()
    assert post(server.url, {}, 0.1) != ""
    assert time.monotonic() - began < 0.9


def test_no_network_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in post(f"http://127.0.0.1:{port}/", {}, 5)


@pytest.mark.parametrize("url", ["http://[secret/", "http://127.0.0.1:1/secret token"])
def test_a_broken_url_is_told_and_not_shown(url: str) -> None:
    told = post(url, {}, 5)
    assert "cannot be reached" in told
    assert "secret" not in told


def test_a_redirect_is_no_delivery(server: Any) -> None:
    server.code = 302
    assert "302" in post(server.url, {}, 5)


def test_a_wrong_url_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.webhook") as error:
        Settings().with_options({"pipeline.webhook": "hooks.example.com/secret"})
    assert "secret" not in str(error.value)
