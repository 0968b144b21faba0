"""Log files read and checked by an engine's workers, each file by one, and taken in their order.

A worker numbers the ids of its file by first appearance, and leaves its batches on disk, cut where
one process would cut them. So to number each file's distinct ids, file after file, gives every id
the row that it would have, and the data set comes out the same to the byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from lorarec.data.files import LogFile
from lorarec.data.logs import BadRows, Found, LogStream, Reading
from lorarec.data.prepared.encoding import IdEncoder
from lorarec.data.prepared.manifest import Table
from lorarec.data.prepared.quarantine import Quarantine
from lorarec.fanout.job import Done, Engine, Job, map_domains
from lorarec.storage import refused

Array = np.ndarray[Any, Any]
COLUMNS: dict[Table, str] = {"users": "user_id", "items": "item_id"}
"""The ids that are numbered file by file; domains are few."""
ASIDE = "reading"
"""Folder below the data set's for what workers leave; gone when it is taken."""


class Batch(Protocol):
    """Rows that are to be numbered."""

    @property
    def frame(self) -> pl.DataFrame:
        """Canonical logs; ids may be missing."""

    def rows(self, table: Table, encoder: IdEncoder) -> Array:
        """Rows of the ids of a table, int64 (n,)."""


def in_turn(stream: LogStream) -> Generator[Batch]:
    """Batches read here."""
    for frame in stream:
        yield _Plain(frame)


def taking(on_bad_rows: str, aside: Quarantine) -> BadRows | None:
    """What becomes of rows that break the contract, as `LogStream` takes it."""
    return {"error": None, "quarantine": aside.add, "drop": lambda _: None}[on_bad_rows]


def side_by_side(
    stream: LogStream,
    how: Reading,
    on_bad_rows: str,
    folder: Path,
    aside: Quarantine,
    engine: Engine,
) -> Generator[Batch]:
    """Batches read by workers, and at the end what `stream` would have told.

    Args:
        stream: Of all files; it takes in what the workers find.
        how: How files are read.
        on_bad_rows: `error`, `quarantine` or `drop`.
        folder: Of the data set; workers write below it.
        aside: Takes their bad rows.
        engine: Whose workers read this machine's disks.

    Raises:
        ContractError, DataError: As by iterating over `stream`.
        WorkerLostError: Workers are killed over a file, again and again.
    """
    place = folder / ASIDE
    files = {f"{number:06d}": file for number, file in enumerate(stream.files)}
    brief = _Brief(how, on_bad_rows, place, len(files) > 1)
    waiting: dict[str, Done[_File]] = {}
    with map_domains(Job(begin, brief, files.__getitem__), list(files), engine) as each:
        for name in files:
            while name not in waiting:
                done = next(each)
                waiting[done.domain] = done
            found = waiting.pop(name).result()
            stream.take_in(found.found)
            own = place / name
            for bad in sorted((own / "quarantine").glob("*.parquet")):
                aside.take(bad)
            ids = _Ids(own)
            for number in range(found.batches):
                yield _Coded(pl.read_ipc(own / f"{number}.arrow"), ids)
            shutil.rmtree(own)
    shutil.rmtree(place, ignore_errors=True)
    stream.check_end()


@dataclass(frozen=True)
class _Plain:
    frame: pl.DataFrame

    def rows(self, table: Table, encoder: IdEncoder) -> Array:
        return encoder.encode(self.frame[COLUMNS[table]])


@dataclass(frozen=True)
class _Coded:
    """Rows whose ids are numbers of their file."""

    frame: pl.DataFrame
    ids: _Ids

    def rows(self, table: Table, encoder: IdEncoder) -> Array:
        found: Array = self.ids.rows(table, encoder)[self.frame[COLUMNS[table]].to_numpy()]
        return found


class _Ids:
    """The distinct ids of one file, and their rows once they have some."""

    def __init__(self, folder: Path) -> None:
        self._names = {table: pl.read_ipc(folder / f"{table}.arrow")["id"]
                       for table in COLUMNS}  # fmt: skip
        self._rows: dict[Table, Array] = {}

    def rows(self, table: Table, encoder: IdEncoder) -> Array:
        """Rows by number in the file, int64 (n,). Of each table one thread asks."""
        if table not in self._rows:
            self._rows[table] = encoder.encode(self._names.pop(table))
        return self._rows[table]


@dataclass(frozen=True)
class _Brief:
    """What a worker needs of all files."""

    how: Reading
    on_bad_rows: str
    folder: Path
    several: bool


@dataclass(frozen=True)
class _File:
    """What became of a file."""

    found: Found
    batches: int


def begin(brief: _Brief) -> Callable[[str, LogFile], _File]:
    """In a worker: the function that reads one file."""

    def work(name: str, file: LogFile) -> _File:
        own = brief.folder / name
        shutil.rmtree(own, ignore_errors=True)  # of a worker that was killed
        own.mkdir(parents=True)
        take = taking(brief.on_bad_rows, Quarantine(own, 0))
        stream = LogStream([file], brief.how, take, brief.several)
        encoders = {table: IdEncoder() for table in COLUMNS}
        count = 0
        for frame in stream.batches():
            codes = [
                pl.Series(column, encoders[table].encode(frame[column]).astype(np.uint32))
                for table, column in COLUMNS.items()
            ]
            _write(frame.with_columns(codes), own / f"{count}.arrow")
            count += 1
        for table, encoder in encoders.items():
            _write(encoder.ids().to_frame("id"), own / f"{table}.arrow")
        return _File(stream.found, count)

    return work


def _write(frame: pl.DataFrame, path: Path) -> None:
    try:
        frame.write_ipc(path)
    except OSError as error:
        raise refused(path, error) from error
