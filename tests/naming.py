"""Which files hold a text, and all that files hold: for tests of what must be gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All bytes of all files below a folder; of parquet what it holds too."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += pl.read_parquet(path, glob=False).write_ndjson().encode()
        yield path, content


def naming(folder: Path, text: str) -> list[Path]:
    return [path for path, content in everything(folder) if text.encode() in content]


def contents(folder: Path) -> dict[Path, bytes]:
    """All but the database, whose bytes move when it is read, and locks."""
    found = {path: content for path, content in everything(folder) if path.name != ".lock"}
    return {path: content for path, content in found.items() if "mlflow.db" not in path.name}
