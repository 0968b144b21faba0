"""The parquet files of a data set: written whole with their digest, read back checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.prepared.manifest import FileRecord, Table
from lorarec.errors import ArtifactError
from lorarec.storage import atomic_path

Array = np.ndarray[Any, Any]
ROWS: dict[str, pl.DataType] = {
    "user": pl.UInt32(),
    "item": pl.UInt32(),
    "domain": pl.UInt16(),
    "timestamp": pl.Int64(),
    "rating": pl.Float32(),
    "weight": pl.Float32(),
    "split": pl.String(),
}
"""A row of a shard; columns that say nothing in a shard are left out of it."""
ROW_GROUP = 1 << 16
"""Rows that are skipped together when another domain is wanted."""


def encoded_rows(frame: pl.DataFrame, user: Array, item: Array, domain: Array) -> pl.DataFrame:
    """Canonical logs as a shard: rows for ids, sorted by domain, in their order within one.

    Args:
        frame: Canonical logs (n rows).
        user: Rows of the users, int64 (n,).
        item: Rows of the items, int64 (n,).
        domain: Rows of the domains, int64 (n,).
    """
    columns = {"user": user.astype(np.uint32), "item": item.astype(np.uint32)}
    rows = pl.DataFrame(columns | {"domain": domain.astype(np.uint16)})
    said = [c for c in ("timestamp", "rating", "split") if frame[c].null_count() < frame.height]
    if (frame["weight"] != 1).any():
        said.append("weight")
    rows = rows.with_columns(frame[name] for name in said)
    key = (domain.astype(np.uint64) << np.uint64(32)) | np.arange(len(domain), dtype=np.uint64)
    if (domain[1:] >= domain[:-1]).all():
        return rows
    key.sort()  # by domain and place at once: ten times as fast as a stable argsort
    return rows[(key & np.uint64(0xFFFFFFFF)).astype(np.uint32)]


def write_shard(folder: Path, table: Table, name: str, frame: pl.DataFrame) -> FileRecord:
    """Write one file of a data set, whole or not at all.

    Args:
        folder: Of the data set.
        table: What the file holds.
        name: Path below the folder.
        frame: The rows.

    Raises:
        StoreError: The disk refused.
    """
    encoded = BytesIO()
    frame.write_parquet(
        encoded, compression="zstd", compression_level=1, row_group_size=ROW_GROUP, statistics=True
    )
    content = encoded.getbuffer()
    with atomic_path(folder / name) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return FileRecord(table=table, name=name, rows=frame.height, size=len(content), sha256=digest)


def check_files(folder: Path, records: Sequence[FileRecord], bytes_too: bool = True) -> None:
    """Check that files are there and are what was written, several at a time.

    Args:
        folder: Of the data set.
        records: What was written.
        bytes_too: Whether every byte is looked at; else that each has as many as it had.

    Raises:
        ArtifactError: One is missing, truncated or edited; the first is named.
    """
    with ThreadPoolExecutor(min(len(records), os.cpu_count() or 1) or 1) as pool:
        for _ in pool.map(
            lambda record: _check_file(folder / record.name, record, bytes_too), records
        ):
            pass


def _check_file(path: Path, record: FileRecord, bytes_too: bool) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(
            f"{path} is missing ({error.strerror}). Expected {record.rows:,} rows of the data "
            f"set; bring the file back, or prepare the data set again."
        ) from error
    if size == record.size and not bytes_too:
        return
    digest = ""
    if size == record.size:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != record.sha256:
        found = f"{size:,} bytes" if size != record.size else f"digest {digest[:12]}"
        raise ArtifactError(
            f"{path} was truncated or edited: it has {found}, the manifest says "
            f"{record.size:,} bytes and digest {record.sha256[:12]}. Bring the old file back, "
            f"or prepare the data set again."
        )


def read_ids(folder: Path, records: Sequence[FileRecord]) -> pl.Series:
    """Ids of some files of a vocabulary, in the order of their rows: String (n,)."""
    return pl.concat([pl.read_parquet(folder / r.name, glob=False) for r in records])["id"]


def scan_rows(folder: Path, records: Sequence[FileRecord]) -> pl.LazyFrame:
    """All rows of some shards, oldest first, lazily, with every column of `ROWS`."""
    frames = []
    for record in records:
        frame = pl.scan_parquet(folder / record.name, glob=False, hive_partitioning=False)
        there = frame.collect_schema().names()
        absent: Mapping[str, pl.Expr] = {
            name: pl.lit(1.0 if name == "weight" else None, dtype=dtype)
            for name, dtype in ROWS.items()
            if name not in there
        }
        frames.append(frame.with_columns(**absent).select(list(ROWS)))
    return pl.concat(frames)
