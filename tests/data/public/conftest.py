"""A web server, and sources whose files are on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from file_server import FileServer

from lorarec.data.logs import load_logs, logs_digest
from lorarec.data.public.download import Patience
from lorarec.data.public.get import import_data
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


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., pl.DataFrame]:
    """`imported("xmarket", folder)`: the logs that an import makes, as they are read again."""

    def make(name: str, path: Path, **given: list[str]) -> pl.DataFrame:
        made = import_data(name, path, tmp_path / "out", given)
        logs = load_logs(made.path)
        assert logs_digest(logs) == made.digest
        return logs

    return make
