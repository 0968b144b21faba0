"""Tables of side features: one row an id, read from parquet, CSV, TSV or NDJSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lorarec.data.features.specs import FeatureSpec
from lorarec.data.features.values import SEPARATOR, as_text, split_text
from lorarec.data.schema import is_accepted, parsed
from lorarec.data.tables import SEPARATORS, read_table
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, did_you_mean

_PLAIN_INTEGER = r"^(0|-?[1-9]\d*)$"
_LEADING_ZERO = r"^[+-]?0\d"
_DATE = r"^\d{4}-\d{2}-\d{2}"


def read_features(
    path: Path | str, id_column: str, specs: Sequence[FeatureSpec] = ()
) -> pl.DataFrame:
    """A table of features with its ids checked.

    Columns of CSV and TSV are text. One with a numeric spec or with none is given a type when every
    value that is not empty allows it: integers, numbers, dates, then lists where a value holds `|`
    (of numbers where all are numbers, one is not whole and all lists are equally long). A leading
    zero, as in the ZIP code `02139`, keeps a column text. Columns with another spec stay text, so
    that a later file is read as the first one was: pass the encoder's specs then.

    Args:
        path: A file with a header.
        id_column: The column with the ids, such as `item_id`.
        specs: What is known of the columns.

    Returns:
        The table in file order, its ids String.

    Raises:
        DataError: The file cannot be read, has no such column, or its ids are null or repeat.
    """
    path = Path(path)
    frame = read_table(path)
    if path.name.lower().endswith(tuple(SEPARATORS)):
        kept = {id_column} | {spec.name for spec in specs if spec.kind != "numeric"}
        frame = frame.with_columns(typed(frame[c]) for c in frame.columns if c not in kept)
    try:
        keys_of(frame, id_column)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return frame.with_columns(pl.col(id_column).cast(pl.String))


def keys_of(frame: pl.DataFrame, id_column: str) -> Vocabulary:
    """The ids of a table, each with its row.

    Raises:
        DataError: The column is missing or holds no ids, or an id is null or repeats.
    """
    if id_column not in frame.columns:
        raise DataError(
            f"The table has no column {id_column!r}.{did_you_mean(id_column, frame.columns)} "
            f"Expected the ids there; name the column that has them."
        )
    column = frame[id_column]
    if not is_accepted("item_id", column.dtype):
        raise DataError(f"Column {id_column!r} is {column.dtype}. Expected a string or an integer.")
    ids = column.cast(pl.String)
    if ids.null_count():
        rows = ids.is_null().arg_true().head(5).to_list()
        raise DataError(
            f"Column {id_column!r}: {ids.null_count():,} of {len(ids):,} ids are null, in rows "
            f"{', '.join(map(str, rows))}. Expected an id in each row; drop those rows."
        )
    repeated = ids.filter(ids.is_duplicated())
    if len(repeated):
        some = ", ".join(repr(i) for i in repeated.unique(maintain_order=True).head(5))
        raise DataError(
            f"Column {id_column!r}: {len(repeated):,} of {len(ids):,} rows repeat an id: {some}. "
            f"Expected every id once; keep one row of each."
        )
    return Vocabulary(ids)


def typed(column: pl.Series) -> pl.Series:
    """Text in the type that all of its values allow; as it was where they allow none.

    Args:
        column: String (n,).

    Returns:
        Int64, Float64, Datetime, List(Float64), List(String) or String (n,); empty is null.
    """
    text = as_text(column)
    there = text.drop_nulls()
    if there.is_empty():
        return text
    if there.str.contains(SEPARATOR, literal=True).any():
        return _typed_lists(text)
    if there.str.contains(_PLAIN_INTEGER).all() and _whole(text, as_ints := _cast(text, pl.Int64)):
        return as_ints
    if _all_numbers(there):
        return _cast(text, pl.Float64)
    return _typed_dates(text) if there.str.contains(_DATE).all() else text


def _typed_dates(text: pl.Series) -> pl.Series:
    named = text.rename("timestamp").to_frame()
    seconds = named.select(parsed("timestamp", pl.String())).to_series()
    return pl.from_epoch(seconds).rename(text.name) if _whole(text, seconds) else text


def _typed_lists(text: pl.Series) -> pl.Series:
    lists = split_text(text)
    parts = lists.drop_nulls().explode()
    equal = lists.list.len().drop_nulls().n_unique() == 1
    whole = parts.str.contains(_PLAIN_INTEGER).all()
    if equal and not whole and _all_numbers(parts):
        return lists.cast(pl.List(pl.Float64), strict=False)
    return lists


def _all_numbers(there: pl.Series) -> bool:
    zeros = there.str.contains(_LEADING_ZERO).any()
    return not zeros and not _cast(there, pl.Float64).null_count()


def _cast(text: pl.Series, dtype: type[pl.DataType]) -> pl.Series:
    return text.cast(dtype, strict=False)


def _whole(text: pl.Series, values: pl.Series) -> bool:
    """Whether nothing was lost."""
    return values.null_count() == text.null_count()
