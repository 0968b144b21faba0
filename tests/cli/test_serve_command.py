"""`lorarec serve`: what it refuses before it is up."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from world import Ended, World

from lorarec.serving.server import bound_socket, is_loopback, read_token


def test_beyond_loopback_it_needs_a_token(
    world: World, ran: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ran("serve", "--host", "0.0.0.0", "--port", 0)
    assert found.code == 2
    assert "--token-file FILE, or LORAREC_TOKEN" in found.err
    monkeypatch.setenv("LORAREC_TOKEN", "short")
    assert "16 or more" in ran("serve", "--host", "0.0.0.0", "--port", 0).err


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_a_token_comes_of_a_file_or_a_variable_and_its_end_of_line_is_not_of_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0\n")
    assert read_token("0.0.0.0", file, {}) == "0123456789abcdef0"
    assert read_token("0.0.0.0", None, {"LORAREC_TOKEN": "0123456789abcdef"}) == "0123456789abcdef"
    assert read_token("127.0.0.1", None, {}) is None


def test_an_empty_token_file_is_refused_on_loopback_too(
    world: World, ran: Callable[..., Ended]
) -> None:
    (world.folder / "token").write_text("\n")
    assert ran("serve", "--token-file", "token", "--port", 0).code == 2
    assert "cannot be read" in ran("serve", "--token-file", "absent", "--port", 0).err


def test_an_occupied_port_and_a_missing_library_are_said(
    world: World, ran: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        found = ran("serve", "--port", server.getsockname()[1])
    assert found.code == 2
    assert "cannot be had" in found.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'lorarec[serve]'" in ran("serve", "--port", 0).err


def test_the_socket_names_its_protocol_so_that_answers_do_not_wait_for_acknowledgements() -> None:
    with bound_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
