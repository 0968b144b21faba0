"""A table of ids and vectors: parquet or NDJSON with an id column and a list column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.tables import read_table
from lorarec.errors import DataError, did_you_mean

VECTOR_NAMES = ("vector", "embedding", "factors")
BIAS = "bias"


def read_vectors(path: Path, what: str) -> dict[str, Any]:
    """Ids, vectors and, where there is a column `bias`, biases of one side.

    The id column is `user_id` (or `item_id`), `id`, or the only one of text or integers; the vector
    column `vector`, `embedding`, `factors`, or the only list.

    Args:
        path: The table.
        what: `user` or `item`.

    Returns:
        By part of `SLOTS`: `users` float (n, d), `user_ids`, and perhaps `user_bias`; or the same
        of items.

    Raises:
        DataError: A column is missing or there is a choice of them, or vectors are null, hold null
            or differ in length; the first rows are told.
    """
    frame = read_table(path)
    ids = id_column(frame, what, path.name)
    column = _vector_column(frame, path.name)
    parts = {f"{what}_ids": frame[ids], f"{what}s": _stacked(frame[column], frame[ids], path.name)}
    if BIAS in frame.columns:
        if frame[BIAS].null_count():
            raise DataError(f"The column `bias` of {path.name} has nulls. Expected a number a row.")
        parts[f"{what}_bias"] = frame[BIAS].to_numpy()
    return parts


def id_column(frame: pl.DataFrame, what: str, where: str) -> str:
    """The name of the column that holds ids.

    Raises:
        DataError: None is, or more than one may be.
    """
    for name in (f"{what}_id", "id"):
        if name in frame.columns:
            return name
    fit = [n for n, t in frame.schema.items() if t == pl.String or t.is_integer()]
    return _only(fit, frame, f"{what}_id", where)


def _vector_column(frame: pl.DataFrame, where: str) -> str:
    for name in VECTOR_NAMES:
        if name in frame.columns:
            return name
    fit = [n for n, t in frame.schema.items() if isinstance(t, pl.List | pl.Array)]
    return _only(fit, frame, VECTOR_NAMES[0], where)


def _only(fit: list[str], frame: pl.DataFrame, wanted: str, where: str) -> str:
    if len(fit) == 1:
        return fit[0]
    found = ", ".join(f"{name} ({kind})" for name, kind in frame.schema.items())
    raise DataError(
        f"{where} has {'no column' if not fit else f'{len(fit)} columns'} that may be the "
        f"`{wanted}`.{did_you_mean(wanted, frame.columns) if fit else ''} It has: {found}. "
        f"Expected one; name it `{wanted}`."
    )


def _stacked(column: pl.Series, ids: pl.Series, where: str) -> np.ndarray[Any, Any]:
    kind = column.dtype
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else None
    if inner is None or not pl.Series(dtype=inner).dtype.is_numeric():
        raise DataError(
            f"The column `{column.name}` of {where} is of the type {kind}. Expected a list of "
            f"numbers in each row."
        )
    lists = column.cast(pl.List(inner))
    lengths = lists.list.len().fill_null(0).to_numpy()
    usual = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    holes = lists.list.eval(pl.element().is_null()).list.any().fill_null(True).to_numpy()
    wrong = np.flatnonzero(holes | (lengths != usual))
    if len(wrong):
        rows = ", ".join(f"{row} ({ids[int(row)]})" for row in wrong[:5])
        raise DataError(
            f"{len(wrong):,} of {len(column):,} vectors in `{column.name}` of {where} are null, "
            f"hold null or have another length than {usual}, the first in rows {rows}. Expected "
            f"as many numbers in each row."
        )
    flat = lists.explode().to_numpy() if usual else np.zeros(0, np.float32)
    return np.asarray(flat).reshape(len(lists), usual)
