"""Reading interaction logs: parquet, CSV, TSV and NDJSON, one file or many, to the canonical form.

CSV is read as text and parsed by the contract, so that an id such as `007` stays what it is.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.contract import CheckReport, ContractError, find_violations
from lorarec.data.digest import hash_numbers, hash_strings
from lorarec.data.schema import COLUMNS, SCHEMA, missing_columns, normalise, own_names
from lorarec.data.tables import WRITABLE, write_table
from lorarec.errors import DataError

SUFFIXES = (
    ".parquet", ".csv", ".tsv", ".ndjson", ".jsonl",
    ".csv.gz", ".tsv.gz", ".ndjson.gz", ".jsonl.gz",
)  # fmt: skip
Paths = Sequence[Path | str] | Path | str


@dataclass(frozen=True)
class LoadedLogs:
    """Canonical logs and what was left out of them."""

    frame: pl.DataFrame
    """`schema.SCHEMA`, in file order."""
    files: tuple[Path, ...]
    """The files read, in order."""
    dropped_low_rating: int = 0
    """Rows left out because their rating is below `min_rating`."""


def find_files(paths: Paths) -> list[Path]:
    """The log files that paths stand for, in order.

    A directory stands for its file `interactions.*` when it has one (the other tables of a data
    set lie beside it), otherwise for all its log files, sorted by name. It is not searched deeper.

    Args:
        paths: Files and directories.

    Raises:
        DataError: A path does not exist, has an unknown suffix, or is a directory without logs.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("No log files were given. Expected at least one path, such as --data data.")
    return [file for path in given for file in _files_of(Path(path))]


def scan_logs(paths: Paths, columns: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Logs as a lazy frame in canonical form; nothing but the headers is read.

    Args:
        paths: Files and directories, concatenated in the order given.
        columns: Contract name → the file's name, only where they differ.

    Returns:
        A lazy frame with `schema.SCHEMA`, in file order. Values are not checked.

    Raises:
        DataError: A file is missing, unreadable, or lacks a required column.
    """
    frames = []
    for path in find_files(paths):
        with _reading(path):
            frames.append(normalise(_scan(path), columns))
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
) -> LoadedLogs:
    """Read and check logs.

    Args:
        paths: Files and directories, concatenated in the order given.
        columns: Contract name → the file's name, only where they differ.
        min_rating: Rows with a rating below it are left out and counted; a row without a rating
            stays. None keeps every row.
        rating_weight: A row weighs its rating (1 where it has none) instead of its weight.

    Returns:
        The canonical frame in file order, with counts.

    Raises:
        ContractError: Some rows break the contract; every broken rule is named.
        DataError: A file is missing, unreadable or empty, or `min_rating` leaves no row.
    """
    files = find_files(paths)
    parts, violations, rows = [], [], 0
    for path in files:
        raw = _collect(path, columns or {})
        rows += raw.height
        found = find_violations(raw, columns, str(path) if len(files) > 1 else "")
        violations += found
        if not found:
            parts.append(normalise(raw.lazy(), columns).collect())
    if violations:
        raise ContractError(CheckReport(rows=rows, violations=tuple(violations)))
    frame = pl.concat(parts, rechunk=True)
    kept = frame if min_rating is None else _keep_rated(frame, min_rating)
    if rating_weight:
        kept = kept.with_columns(weight=pl.col("rating").fill_null(1.0))
    return LoadedLogs(kept, tuple(files), frame.height - kept.height)


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
    writable = _suffix(path) in WRITABLE and not path.is_dir()
    return path if writable else path / "interactions.parquet"


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if _suffix(f) and f.is_file())
        files = [f for f in files if f.name.startswith("interactions.")] or files
        if files:
            return files
        inside = ", ".join(sorted(f.name for f in path.iterdir())[:5]) or "nothing"
        raise DataError(
            f"{path} is a directory without log files (it holds {inside}). "
            f"Expected files ending in {', '.join(SUFFIXES)}."
        )
    if not path.exists():
        near = ", ".join(sorted(f.name for f in path.parent.glob("*"))[:5])
        raise DataError(
            f"{path} does not exist. Expected a log file or a directory of them"
            f"{f'; {path.parent} holds {near}' if near else ''}. "
            f"`lorarec data synth {path}` makes a sample."
        )
    if not _suffix(path):
        raise DataError(
            f"{path} has a suffix that is not known. Expected one of {', '.join(SUFFIXES)}."
        )
    return [path]


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in SUFFIXES if name.endswith(s)), "") if name[0] != "." else ""


def _scan(path: Path) -> pl.LazyFrame:
    kind = _suffix(path)
    if kind == ".parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if kind.startswith((".csv", ".tsv")):
        separator = "\t" if kind.startswith(".tsv") else ","
        return pl.scan_csv(path, separator=separator, infer_schema=False, glob=False)
    return pl.scan_ndjson(glob.escape(str(path)), infer_schema_length=None)


def _collect(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    own = own_names(columns)
    with _reading(path):
        lazy = _scan(path)
        names = lazy.collect_schema().names()
        if not missing_columns(names, columns):
            lazy = lazy.select(name for name in dict.fromkeys(own.values()) if name in names)
        frame = lazy.collect()
    if frame.height == 0:
        raise DataError(f"{path} is empty. Expected a header and at least one interaction.")
    return frame


def _keep_rated(frame: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    kept = frame.filter(pl.col("rating").is_null() | (pl.col("rating") >= min_rating))
    if kept.height == 0:
        highest = float(frame["rating"].to_numpy().max())
        raise DataError(
            f"No row has a rating of {min_rating:g} or above; the highest is "
            f"{highest:g}. Lower [data] min_rating in lorarec.toml or remove it."
        )
    return kept


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except pl.exceptions.NoDataError as error:
        raise DataError(
            f"{path} is empty. Expected a header and at least one interaction."
        ) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path} could not be read as {_suffix(path)}: {reason}. Expected a whole file of "
            f"interactions that this user may read; write or download it again."
        ) from error
