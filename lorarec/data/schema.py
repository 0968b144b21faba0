"""The column contract of interaction logs: names, types, normal form.

`user_id`, `item_id` and `domain` must be there; `timestamp`, `rating`, `weight` and `split` may be.
A column that is all null counts as absent. `lorarec.data.contract` checks a table against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from lorarec.errors import ConfigError, DataError, did_you_mean

REQUIRED = ("user_id", "item_id", "domain")
OPTIONAL = ("timestamp", "rating", "weight", "split")
COLUMNS = REQUIRED + OPTIONAL
EVENT = "event"
"""An event type, such as `view`: read where `[data.events]` weighs it, and not kept."""
SCHEMA: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "domain": pl.String(),
    "timestamp": pl.Int64(),
    "rating": pl.Float32(),
    "weight": pl.Float32(),
    "split": pl.String(),
}

_ACCEPTED = {
    "user_id": "a string or an integer",
    "item_id": "a string or an integer",
    "domain": "a string",
    "timestamp": "integer seconds since 1970 (UTC) or a datetime",
    "rating": "a number",
    "weight": "a number",
    "split": "a string",
    EVENT: "a string or an integer",
}
_DAY = 86_400
_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_YEARS = (-62_135_596_800, 253_402_300_799)
"""The first and the last second of the years 1 to 9999, which a date of Python can have."""
_DATETIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M")


def accepted(column: str) -> str:
    """What a contract column or an event may hold, in words."""
    return _ACCEPTED[column]


def is_accepted(column: str, dtype: pl.DataType) -> bool:
    """Whether a file's type can be read as this contract column.

    Text is accepted for numbers and timestamps because CSV has nothing else; `parsed` turns what
    cannot be read into null and the check counts it.

    Args:
        column: A contract name, or `EVENT`.
        dtype: The type that the file has.
    """
    if dtype == pl.Null or is_text(dtype):
        return True
    if column in (*REQUIRED, EVENT):
        return dtype.is_integer()
    if column == "timestamp":
        return dtype.is_integer() or dtype.is_float() or dtype in (pl.Date, pl.Datetime)
    return column in ("rating", "weight") and dtype.is_numeric()


def own_names(columns: Mapping[str, str]) -> dict[str, str]:
    """The file's own name of every contract column.

    Args:
        columns: Contract name → the file's name, only where they differ.

    Raises:
        ConfigError: A key is not a contract column, or two of them read the same column.
    """
    names = (*COLUMNS, EVENT)
    for name in columns:
        if name not in names:
            raise ConfigError(
                f"[data.columns] renames {name!r}, which is not a contract column."
                f"{did_you_mean(name, names)} Expected keys among {', '.join(names)}, each "
                f"with the file's own column name as its value."
            )
    return {name: columns.get(name, name) for name in names}


def missing_columns(
    names: Iterable[str], columns: Mapping[str, str], events: bool = False
) -> list[str]:
    """Contract columns that a table must have and does not: the required and the renamed ones.

    Args:
        names: Column names of the table.
        columns: Contract name → the file's name, only where they differ.
        events: Whether rows are weighed by their event, so that there must be one.
    """
    there = set(names)
    own = own_names(columns)
    needed = {*REQUIRED, *columns, *([EVENT] if events else [])}
    return [c for c in own if own[c] not in there and c in needed]


def parsed(column: str, dtype: pl.DataType, own: str | None = None) -> pl.Expr:
    """An expression for a contract column in its canonical type; null where it cannot be read.

    Args:
        column: A contract name.
        dtype: The type that the file has; `is_accepted` holds.
        own: The file's name of the column, if another.

    Returns:
        An expression of type `SCHEMA[column]`, except that a null weight stays null.
    """
    raw = pl.col(own or column)
    if column == "timestamp":
        value = _seconds(raw, dtype)
    elif column in ("rating", "weight"):
        number = raw.cast(pl.String).str.strip_chars() if is_text(dtype) else raw
        value = number.cast(pl.Float32, strict=False)
    elif column == "split":
        text = raw.cast(pl.String)
        value = pl.when(text != "").then(text)
    else:
        value = raw.cast(pl.String)
    return value.alias(column)


def normalise(
    frame: pl.LazyFrame,
    columns: Mapping[str, str] | None = None,
    events: Mapping[str, float] | None = None,
    rating_weight: bool = False,
) -> pl.LazyFrame:
    """The canonical form of a raw table: the seven columns of `SCHEMA`, in that order.

    Integer ids become strings, datetimes become seconds UTC (one without a zone is UTC), an empty
    split becomes null; other columns are dropped. A row without a weight has its rating where that
    is asked for, or else 1; the weight of its event multiplies it. Values are not checked here. A
    canonical table comes back as it was.

    Args:
        frame: A table with the file's own column names and types.
        columns: Contract name → the file's name, only where they differ.
        events: Event type → weight; None or empty where events are not used.
        rating_weight: Whether a rating weighs a row that has no weight.

    Returns:
        A lazy frame with `SCHEMA`; row order kept.

    Raises:
        DataError: A required or renamed column is missing, or has a type that cannot be read.
    """
    columns = columns or {}
    schema = frame.collect_schema()
    absent = missing_columns(schema.names(), columns, bool(events))
    if absent:
        raise DataError(" ".join(describe_missing(c, schema.names(), columns) for c in absent))
    expressions = []
    names = own_names(columns)
    for name in COLUMNS:
        own = names[name]
        if own not in schema:
            expressions.append(pl.lit(None, dtype=SCHEMA[name]).alias(name))
        elif not is_accepted(name, schema[own]):
            raise DataError(f"Column {own!r} is {schema[own]}. Expected {accepted(name)}.")
        else:
            expressions.append(parsed(name, schema[own], own))
    weight = pl.coalesce("weight", "rating") if rating_weight else pl.col("weight")
    weight = weight.fill_null(1.0).alias("weight")
    if not events:
        return frame.select(expressions).with_columns(weight)
    event = pl.col(names[EVENT]).cast(pl.String).str.strip_chars()
    value = event.replace_strict(events, default=1.0, return_dtype=pl.Float32).alias(EVENT)
    weighed = frame.select(*expressions, value).with_columns(weight * pl.col(EVENT))
    return weighed.select(COLUMNS)


def describe_missing(column: str, names: Iterable[str], columns: Mapping[str, str]) -> str:
    """A sentence for a column that is not there: what was found and how to rename."""
    names = list(names)
    own = columns.get(column, column)
    asked = "" if own == column else f" (named {own!r} by [data.columns])"
    return (
        f"Column {column!r}{asked} is missing: found {', '.join(names) or 'no columns'}."
        f"{did_you_mean(own, names) if names else ''} Expected a column {own!r}; name yours under "
        f'[data.columns] in lorarec.toml, such as {column} = "{names[0] if names else "mine"}".'
    )


def in_calendar(frame: pl.DataFrame) -> pl.DataFrame:
    """A table that can be shown: a column with dates beyond the years 1 to 9999 as bare numbers."""
    first, last = _YEARS
    moments = {
        name: _seconds(pl.col(name), dtype)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Date | pl.Datetime)
    }
    beyond = frame.select(
        (~value.is_between(first, last)).any().alias(name) for name, value in moments.items()
    )
    return frame.with_columns(pl.col(name).to_physical() for name in moments if beyond[name].item())


def is_text(dtype: pl.DataType) -> bool:
    """Whether values of this type are read as text."""
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _seconds(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Date:
        return raw.to_physical().cast(pl.Int64) * _DAY
    if isinstance(dtype, pl.Datetime):
        # By the bare numbers: Polars panics at a moment that no calendar has.
        return raw.to_physical() // _PER_SECOND[dtype.time_unit]
    if dtype.is_float():
        return pl.when(raw == raw.floor()).then(raw).cast(pl.Int64, strict=False)
    if not is_text(dtype):
        return raw.cast(pl.Int64, strict=False)
    text = raw.cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    plain = text.str.replace("T", " ", literal=True)
    zoned = plain.str.replace("Z", "+00:00", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", strict=False, time_zone="UTC"
    )
    naive = [plain.str.to_datetime(f, strict=False) for f in _DATETIME_FORMATS]
    return pl.coalesce(
        text.cast(pl.Int64, strict=False),
        pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False),
        *(moment.dt.epoch("s") for moment in [*naive, zoned]),
    )
