"""Raw rows of a log file in batches, so that a file of any size is read in bounded memory."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from lorarec.data.files import LogFile
from lorarec.data.schema import missing_columns, own_names
from lorarec.errors import DataError

BATCH = 1 << 19
"""Rows a batch: 524,288. What is worked on then stays small; four times as many took a fifth more
processor time in `data prepare`."""


def scan(file: LogFile, columns: Iterable[str] = ()) -> pl.LazyFrame:
    """A file's own columns, lazily, and those that its folders name.

    CSV is read as text and parsed by the contract, so that an id such as `007` stays what it is.

    Args:
        file: A log file.
        columns: Own names that are wanted of its folders, where the file itself lacks them.
    """
    kind = file.suffix.removesuffix(".gz").removesuffix(".zst")
    if kind == ".parquet":
        frame = pl.scan_parquet(file.path, glob=False, hive_partitioning=False)
    elif kind in (".csv", ".tsv"):
        separator = "\t" if kind == ".tsv" else ","
        frame = pl.scan_csv(file.path, separator=separator, infer_schema=False, glob=False)
    else:
        # Mixed ids such as 1 and "x" need the whole file's types, not those of its first rows.
        frame = pl.scan_ndjson(glob.escape(str(file.path)), infer_schema_length=None)
    folders = {name: value for name, value in file.partition if name in set(columns)}
    if not folders:
        return frame
    there = set(frame.collect_schema().names())
    return frame.with_columns(
        pl.lit(value, dtype=pl.String).alias(name)
        for name, value in folders.items()
        if name not in there
    )


def raw_batches(
    file: LogFile, columns: Mapping[str, str], events: bool = False, rows: int = BATCH
) -> Iterator[pl.DataFrame]:
    """The rows of a file in order, at most `rows` at a time, with the columns of the contract.

    Args:
        file: A log file.
        columns: Contract name → the file's name, only where they differ.
        events: Whether the event column is wanted.
        rows: Of a batch.

    Yields:
        Frames with the file's own names and types. A file that lacks a column comes with all of
        its own, for the message.

    Raises:
        DataError: The file is empty or unreadable; rows before the damage have come already.
    """
    own = own_names(columns)
    found = 0
    with reading(file):
        lazy = scan(file, own.values())
        names = lazy.collect_schema().names()
        if not missing_columns(names, columns, events):
            lazy = lazy.select(name for name in dict.fromkeys(own.values()) if name in names)
        for batch in lazy.collect_batches(chunk_size=rows, maintain_order=True):
            if batch.height:
                found += batch.height
                yield batch
    if not found:
        raise DataError(f"{file} is empty. Expected a header and at least one interaction.")


@contextmanager
def reading(file: LogFile) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a `DataError` that names it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except pl.exceptions.NoDataError as error:
        raise DataError(
            f"{file} is empty. Expected a header and at least one interaction."
        ) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{file} could not be read as {file.suffix}: {reason}. Expected a whole file of "
            f"interactions that this user may read; write or download it again."
        ) from error
