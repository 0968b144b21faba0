"""Any table read and written by suffix; files are whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import polars as pl

from lorarec.errors import DataError
from lorarec.storage import atomic_path

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
}
SEPARATORS = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t"}
WRITABLE = (".parquet", ".csv", ".tsv", ".ndjson")


def read_lines(path: Path) -> pl.Series:
    """The lines of a text file, as strings: an id each.

    Raises:
        DataError: It cannot be read, or is no UTF-8.
    """
    try:
        return pl.Series(path.read_text(encoding="utf-8").splitlines(), dtype=pl.String)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Expected an id a line.") from error


def read_table(path: Path) -> pl.DataFrame:
    """A table of any columns; those of CSV and TSV are text, so that the id `007` stays as it is.

    Raises:
        DataError: The file is missing, of an unknown suffix, or cannot be read.
    """
    name = path.name.lower()
    try:
        for suffix, separator in SEPARATORS.items():
            if name.endswith(suffix):
                return pl.read_csv(path, separator=separator, infer_schema=False)
        if path.suffix.lower() in READERS:
            return READERS[path.suffix.lower()](path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Expected a whole file of the "
            f"kind that its suffix says."
        ) from error
    raise DataError(
        f"{path} has a suffix that is not known. Expected one of "
        f"{', '.join([*READERS, *SEPARATORS])}."
    )


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a table by suffix, whole or not at all.

    Raises:
        DataError: The suffix is not known.
        StoreError: The disk refused.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        write_parquet(frame, path)
        return
    if kind not in WRITABLE:
        raise DataError(
            f"{path} has a suffix that is not known. Expected one of {', '.join(WRITABLE)}."
        )
    with atomic_path(path) as temporary:
        if kind == ".ndjson":
            frame.write_ndjson(temporary)
        else:
            frame.write_csv(temporary, separator="\t" if kind == ".tsv" else ",")


def write_parquet(
    frame: pl.DataFrame, path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table as zstd parquet.

    It is encoded in memory first: Polars reports a full disk as a fault of the format, Python by
    its error number.

    Args:
        frame: The table.
        path: The file. Its folder is made if absent.
        metadata: Strings to keep in the file's footer.

    Raises:
        StoreError: The disk is full, read-only, or not ours to write to.
    """
    encoded = BytesIO()
    frame.write_parquet(
        encoded, compression="zstd", compression_level=9, metadata=dict(metadata or {}) or None
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
