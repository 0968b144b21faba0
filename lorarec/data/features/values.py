"""Columns of any accepted type in the one form of their kind; what cannot be read is named.

Missing is null; for text also the empty string, for numbers also NaN (as pandas writes null).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lorarec.errors import DataError

SEPARATOR = "|"
"""Between the parts of a list that is written as text: `Action|Drama`, `0.1|-2|0.5`."""

_SECONDS_A_DAY = 86_400
Array = np.ndarray[Any, Any]


def as_text(column: pl.Series) -> pl.Series:
    """Categories as text without spaces around; null is missing.

    A whole float reads as the integer it is: pandas makes 1.0 of 1 where a column has nulls.

    Args:
        column: Text, integers, booleans, floats or dates (n,).

    Returns:
        String (n,).

    Raises:
        DataError: The column has another type.
    """
    dtype, raw = column.dtype, pl.col("x")
    value: pl.Expr
    if dtype.is_float():
        whole = raw.cast(pl.Int64, strict=False)
        text = pl.when(raw == whole.cast(dtype)).then(whole.cast(pl.String))
        value = pl.when(raw.is_not_nan()).then(text.otherwise(raw.cast(pl.String)))
    elif _is_text(dtype):
        plain = raw.cast(pl.String).str.strip_chars()
        value = pl.when(plain != "").then(plain)
    elif dtype.is_integer() or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null):
        value = raw.cast(pl.String)
    else:
        raise _wrong_type(column, "text, integers or booleans")
    return column.rename("x").to_frame().select(value).to_series().rename(column.name)


def as_members(column: pl.Series) -> tuple[Array, pl.Series, Array]:
    """Lists of categories, flat.

    Args:
        column: Lists or arrays (n,) of what `as_text` takes; text is split at `|`, and any other
            value is a list of one.

    Returns:
        Row int64 (m,), ascending, and category, String (m,): each once in a row, in the order of
        the list, without missing members. Then bool (n,): the whole list is missing.

    Raises:
        DataError: The column or its lists have another type.
    """
    lists = _as_lists(column)
    flat = as_text(_flat(lists))
    pairs = pl.DataFrame({"row": _rows(lists), "text": flat}).drop_nulls()
    pairs = pairs.unique(maintain_order=True)
    return pairs["row"].to_numpy(), pairs["text"], lists.is_null().to_numpy()


def as_numbers(column: pl.Series, ids: pl.Series) -> Array:
    """Numbers; dates and times as days since 1970 (UTC).

    Args:
        column: Numbers, booleans, dates, or text that reads as numbers (n,).
        ids: String (n,), whose rows these are; for the error.

    Returns:
        float64 (n,); NaN is missing.

    Raises:
        DataError: The column has another type; text is no number; a number is infinite or beyond
            what float32 holds.
    """
    dtype = column.dtype
    if dtype == pl.Date:
        numbers = column.to_physical().cast(pl.Float64)
    elif dtype == pl.Datetime:
        numbers = column.dt.epoch("us") / (_SECONDS_A_DAY * 1_000_000)
    elif _is_text(dtype):
        text = as_text(column)
        numbers = text.cast(pl.Float64, strict=False)
        unread = (numbers.is_null() & text.is_not_null()).to_numpy()
        refuse(unread, column, ids, "are no numbers", "Expected numbers, or kind categorical")
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64)
    else:
        raise _wrong_type(column, "numbers, dates, or text that reads as numbers")
    values: Array = numbers.to_numpy()
    with np.errstate(invalid="ignore"):
        beyond = np.abs(values) > np.finfo(np.float32).max
    remedy = "Expected finite numbers within ±3.4e38; leave the cell empty where none is known"
    refuse(beyond, column, ids, "are infinite or too large", remedy)
    return values


def as_vectors(column: pl.Series, dim: int, ids: pl.Series) -> tuple[Array, Array]:
    """Dense vectors of one length.

    Args:
        column: Lists or arrays (n,) of numbers, or of text that reads as numbers; text is split at
            `|`. A null cell is a missing vector.
        dim: Numbers in each.
        ids: String (n,), whose rows these are; for the error.

    Returns:
        float32 (n, dim), zero where missing; bool (n,), True where missing.

    Raises:
        DataError: The column has another type; a vector has another length, or holds null, NaN,
            an infinite number or text that is no number.
    """
    nested = isinstance(column.dtype, pl.List | pl.Array)
    if not (nested or _is_text(column.dtype) or column.dtype == pl.Null):
        raise _wrong_type(column, "lists or arrays of numbers")
    lists = _as_lists(column)
    missing = lists.is_null().to_numpy()
    lengths = lists.list.len()
    wrong = ~missing & (lengths.fill_null(0).to_numpy() != dim)
    remedy = f"Expected {dim} in every vector, or no vector"
    refuse(wrong, lengths.rename(column.name), ids, "have another number of elements", remedy)
    flat = _flat(lists)
    if not (flat.dtype.is_numeric() or _is_text(flat.dtype)):
        raise _wrong_type(column, "lists or arrays of numbers")
    there: Array = flat.cast(pl.Float32, strict=False).to_numpy().reshape(-1, dim)
    broken = missing.copy()
    broken[~missing] = ~np.isfinite(there).all(axis=1)
    remedy = "Expected finite numbers within ±3.4e38; leave the whole cell empty to say missing"
    refuse(broken & ~missing, column, ids, "hold null, NaN or infinite numbers", remedy)
    values = np.zeros((len(column), dim), dtype=np.float32)
    values[~missing] = there
    return values, missing


def refuse(bad: Array, column: pl.Series, ids: pl.Series, what: str, remedy: str) -> None:
    """Name the rows that cannot be used, if there are any.

    Args:
        bad: bool (n,).
        column: Any type (n,); its values are shown.
        ids: String (n,).
        what: What is wrong with them, after "of n rows".
        remedy: What was expected, or what to do.

    Raises:
        DataError: `bad` holds somewhere.
    """
    if not bad.any():
        return
    first = np.flatnonzero(bad)[:5]
    shown = [(ids[int(row)], _short(column[int(row)])) for row in first]
    some = ", ".join(f"{name!r} has {value}" for name, value in shown)
    raise DataError(
        f"Column {column.name!r}: {int(bad.sum()):,} of {len(column):,} rows {what}: {some}. "
        f"{remedy}; correct the file, or give the column another kind or none."
    )


def split_text(column: pl.Series) -> pl.Series:
    """Text as lists of its parts between `|`: List(String); empty text is a missing list."""
    return as_text(column).str.split(SEPARATOR)


def _as_lists(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Array):
        return column.arr.to_list()
    return column if isinstance(column.dtype, pl.List) else split_text(column)


def _flat(lists: pl.Series) -> pl.Series:
    # Empty lists are left out by hand: what explode makes of them changed between versions.
    return lists.filter(lists.list.len() > 0).explode()


def _rows(lists: pl.Series) -> Array:
    lengths = lists.list.len().fill_null(0).to_numpy()
    return np.repeat(np.arange(len(lists), dtype=np.int64), lengths)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _short(value: Any) -> str:
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _wrong_type(column: pl.Series, expected: str) -> DataError:
    return DataError(
        f"Column {column.name!r} is {column.dtype}. Expected {expected}; give it another kind, "
        f"or leave it out with kind = 'ignore'."
    )
