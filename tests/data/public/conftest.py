"""A web server, and sources whose files are on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_server import FileServer

from lorarec.data.public.download import Patience
from lorarec.data.public.watch import Watcher


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between the tests and their server."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def patience() -> Patience:
    """Three attempts, and no time to lose."""
    return Patience(attempts=3, first_wait=0.0, timeout=5.0)


@pytest.fixture
def said() -> list[str]:
    """What a watcher was told."""
    return []


@pytest.fixture
def watcher(said: list[str]) -> Watcher:
    return Watcher(say=said.append)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("t1/train.tsv", "text")`: a file below the folder `original`, and that folder."""

    def make(name: str, text: str | bytes) -> Path:
        path = tmp_path / "original" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / "original"

    return make
