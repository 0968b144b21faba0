"""Reading interaction logs, one file or many, checked and in canonical form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.batches import raw_batches, reading, scan
from lorarec.data.contract import Checker, ContractError
from lorarec.data.digest import hash_numbers, hash_strings
from lorarec.data.files import LogFile, Paths, find_files, suffix_of
from lorarec.data.schema import COLUMNS, SCHEMA, normalise, own_names
from lorarec.data.tables import WRITABLE, write_table
from lorarec.errors import DataError

BadRows = Callable[[pl.DataFrame], None]
"""Takes rows that break the contract, as the file has them, with `file` and `reason`."""


@dataclass(frozen=True)
class LoadedLogs:
    """Canonical logs and what was left out of them."""

    frame: pl.DataFrame
    """`schema.SCHEMA`, in file order."""
    files: tuple[LogFile, ...]
    """The files read, in order."""
    dropped_low_rating: int = 0
    """Rows left out because their rating is below `min_rating`."""
    dropped_bad: int = 0
    """Rows left out because they break the contract."""


@dataclass(frozen=True)
class Reading:
    """How logs are read; `config.Data` has the settings behind it.

    Attributes:
        columns: Contract name → the file's name, only where they differ.
        events: Event type → weight; empty where rows are not weighed by event.
        min_rating: Rows rated below it are left out; a row without a rating stays.
        rating_weight: Whether a rating weighs a row that has no weight.
    """

    columns: Mapping[str, str]
    events: Mapping[str, float]
    min_rating: float | None = None
    rating_weight: bool = False


@dataclass(frozen=True)
class Found:
    """What a stream has found and left out."""

    checker: Checker
    dropped_low_rating: int
    kept: int
    """Rows that came out."""
    highest: float
    """The highest rating there was."""


class LogStream:
    """Checked, canonical batches of logs; what was found and left out is known at the end.

    Args:
        files: Log files, in order.
        how: How they are read.
        bad_rows: Takes rows that break the contract; None refuses the logs because of them.
        several: Whether violations name the file; None is where there are several.
    """

    def __init__(
        self,
        files: Sequence[LogFile],
        how: Reading,
        bad_rows: BadRows | None = None,
        several: bool | None = None,
    ) -> None:
        self.files = tuple(files)
        self.checker = Checker(how.columns, how.events)
        self.dropped_low_rating = 0
        self._how, self._bad_rows = how, bad_rows
        self._several = len(self.files) > 1 if several is None else several
        self._kept, self._highest = 0, float("-inf")

    @property
    def found(self) -> Found:
        """What was found so far."""
        return Found(self.checker, self.dropped_low_rating, self._kept, self._highest)

    def take_in(self, found: Found) -> None:
        """Add what a stream of the next files has found, as if this one had read them."""
        self.checker.take_in(found.checker)
        self.dropped_low_rating += found.dropped_low_rating
        self._kept += found.kept
        self._highest = max(self._highest, found.highest)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Canonical frames in file order.

        Raises:
            ContractError: At the end, when rows break the contract and nobody takes them, or when
                a file lacks a column or has one of a wrong type.
            DataError: A file is missing, unreadable or empty, or no row is left.
        """
        yield from self.batches()
        self.check_end()

    def batches(self) -> Iterator[pl.DataFrame]:
        """The same, without a word at the end.

        Raises:
            DataError: A file is missing, unreadable or empty.
        """
        for file in self.files:
            for good in self._of_file(file):
                frame = self._rated(good)
                self._kept += frame.height
                if frame.height:
                    yield frame

    def check_end(self) -> None:
        """Refuse logs, all of which have been read.

        Raises:
            ContractError: As iterating.
            DataError: No row is left.
        """
        if self.checker.violations and (self._bad_rows is None or self.checker.unusable):
            raise ContractError(self.checker.report())
        if not self._kept:
            raise self._nothing_left()

    def _of_file(self, file: LogFile) -> Iterator[pl.DataFrame]:
        how, offset = self._how, 0
        where = str(file) if self._several else ""
        for raw in raw_batches(file, how.columns, bool(how.events)):
            reasons = self.checker.check(raw, where, offset)
            offset += raw.height
            if reasons is not None:
                if self.checker.unusable or self._bad_rows is None:
                    continue  # refused at the end, when all there is to tell is known
                broken = raw.with_columns(pl.lit(str(file)).alias("file"), reasons)
                self._bad_rows(broken.filter(reasons.is_not_null()))
                raw = raw.filter(reasons.is_null())
            yield normalise(raw.lazy(), how.columns, how.events, how.rating_weight).collect()

    def _rated(self, frame: pl.DataFrame) -> pl.DataFrame:
        least = self._how.min_rating
        if least is None:
            return frame
        kept = frame.filter(pl.col("rating").is_null() | (pl.col("rating") >= least))
        self.dropped_low_rating += frame.height - kept.height
        highest = frame["rating"].max()
        self._highest = max(self._highest, highest if isinstance(highest, float) else -1.0)
        return kept

    def _nothing_left(self) -> DataError:
        if self.checker.broken_rows == self.checker.rows:
            return ContractError(self.checker.report())
        return DataError(
            f"No row has a rating of {self._how.min_rating:g} or above; the highest is "
            f"{self._highest:g}. Lower [data] min_rating in lorarec.toml or remove it."
        )


def scan_logs(paths: Paths, columns: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Logs as a lazy frame in canonical form; nothing but the headers is read.

    Args:
        paths: Files, folders and patterns, concatenated in the order given.
        columns: Contract name → the file's name, only where they differ.

    Returns:
        A lazy frame with `schema.SCHEMA`, in file order. Values are not checked.

    Raises:
        DataError: A file is missing, unreadable, or lacks a required column.
    """
    own = own_names(columns or {}).values()
    frames = []
    for file in find_files(paths):
        with reading(file):
            frames.append(normalise(scan(file, own), columns))
    return pl.concat(frames)


def load_logs(
    paths: Paths,
    columns: Mapping[str, str] | None = None,
    min_rating: float | None = None,
    rating_weight: bool = False,
) -> pl.DataFrame:
    """`read_logs`, the frame alone."""
    return read_logs(paths, columns, min_rating, rating_weight).frame


def read_logs(
    paths: Paths,
    columns: Mapping[str, str] | None = None,
    min_rating: float | None = None,
    rating_weight: bool = False,
    events: Mapping[str, float] | None = None,
    bad_rows: BadRows | None = None,
) -> LoadedLogs:
    """Read and check logs into memory.

    Args:
        paths: Files, folders and patterns, concatenated in the order given.
        columns: Contract name → the file's name, only where they differ.
        min_rating: Rows with a rating below it are left out and counted; a row without a rating
            stays. None keeps every row.
        rating_weight: A row without a weight weighs its rating, where it has one.
        events: Event type → weight, which multiplies the row's own.
        bad_rows: Takes rows that break the contract; None refuses the logs because of them.

    Returns:
        The canonical frame in file order, with counts.

    Raises:
        ContractError: Some rows break the contract; every broken rule is named.
        DataError: A file is missing, unreadable or empty, or no row is left.
    """
    how = Reading(columns or {}, events or {}, min_rating, rating_weight)
    stream = LogStream(find_files(paths), how, bad_rows)
    frame = pl.concat(list(stream), rechunk=True)
    return LoadedLogs(frame, stream.files, stream.dropped_low_rating, stream.checker.broken_rows)


def logs_digest(frame: pl.DataFrame) -> str:
    """Hex SHA-256 over the canonical content in order; the same under every Polars version.

    Take it before a split is applied: the column `split` is part of it.

    Args:
        frame: Canonical logs (`schema.SCHEMA`).
    """
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(name.encode())
        if SCHEMA[name] == pl.String:
            hash_strings(digest, frame[name])
        else:
            hash_numbers(digest, frame[name], "<i8" if name == "timestamp" else "<f4")
    digest.update(frame.height.to_bytes(8, "little"))
    return digest.hexdigest()


def write_logs(frame: pl.DataFrame, path: Path | str) -> Path:
    """Write logs whole or not at all, without the columns that say nothing.

    Args:
        frame: Canonical logs. All-null columns and weights of 1 are left out.
        path: A file ending in .parquet, .csv, .tsv or .ndjson; anything else is a directory that
            gets `interactions.parquet`.

    Returns:
        The file written.

    Raises:
        StoreError: The disk refused.
    """
    path = target_file(path)
    empty = [c for c in frame.columns if frame[c].null_count() == frame.height]
    plain = [] if (frame["weight"] != 1).any() else ["weight"]
    frame = frame.drop(*empty, *plain)
    write_table(frame, path)
    return path


def target_file(path: Path | str) -> Path:
    """The file that `write_logs` makes of a path."""
    path = Path(path)
    writable = suffix_of(path) in WRITABLE and not path.is_dir()
    return path if writable else path / "interactions.parquet"
