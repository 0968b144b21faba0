"""Users' and items' vectors of a foreign model, checked: shapes, dtypes, finite numbers, ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, did_you_mean

Array = np.ndarray[Any, Any]
SLOTS = ("users", "items", "item_bias", "user_bias", "user_ids", "item_ids")
"""What a source may hold, by our names; the first two it must hold."""
USER_BIAS = (
    "User biases are left out: one moves all of a user's scores alike, so it ranks nothing. Scores "
    "differ from the original's by a constant for each user."
)


@dataclass(frozen=True, eq=False)
class Factors:
    """Two matrices whose inner products, plus a bias of the item, are the model's scores."""

    users: Array
    """float32 (n, d)."""
    items: Array
    """float32 (m, d)."""
    kind: str
    """What it was read as, such as `npz` or `implicit BPR`."""
    item_bias: Array | None = None
    """float32 (m,); None where the model has none."""
    user_ids: Vocabulary | None = None
    """Ids of the rows of `users`; None where the source has none."""
    item_ids: Vocabulary | None = None
    """Ids of the rows of `items`; None where the source has none."""
    files: dict[str, str] = field(default_factory=dict)
    """Name of each file that was read → its SHA-256."""
    notes: tuple[str, ...] = ()
    """Sentences for the screen."""

    @property
    def dim(self) -> int:
        """d: length of a vector."""
        return int(self.users.shape[1])


def factors_of(
    parts: Mapping[str, Any],
    kind: str,
    where: str,
    files: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Factors:
    """Check the parts of a model and put them together.

    Args:
        parts: Of `SLOTS`: `users` (n, d) and `items` (m, d) of any float dtype, and where there are
            any `item_bias` (m,) or (m, 1), `user_bias` (n,) or (n, 1), `user_ids`, `item_ids`.
        kind: What it was read as.
        where: The file's name, for messages.
        files: Name → SHA-256 of what was read.
        notes: Sentences for the screen.

    Raises:
        DataError: A part is missing, has a wrong shape or dtype, holds what is not finite, or ids
            are missing, null or there twice. The first five rows are named.
    """
    if unknown := sorted(set(parts) - set(SLOTS)):
        raise DataError(
            f"{unknown[0]!r} is no part of an imported model.{did_you_mean(unknown[0], SLOTS)}"
        )
    for name in ("users", "items"):
        if name not in parts:
            raise DataError(f"{where} has no {name}. Expected a matrix with a row for each.")
    ids = {
        table: None
        if parts.get(f"{table}_ids") is None
        else identifiers(parts[f"{table}_ids"], f"{table} ids of {where}")
        for table in ("user", "item")
    }
    users = matrix(parts["users"], f"users of {where}", ids["user"])
    items = matrix(parts["items"], f"items of {where}", ids["item"])
    if users.shape[1] != items.shape[1]:
        turned = users.shape[0] == items.shape[0]
        raise DataError(
            f"The users of {where} have {users.shape[1]} numbers a row, its items "
            f"{items.shape[1]}. Expected the same number of both."
            + (" The matrices seem to be transposed: rows are users and items." if turned else "")
        )
    for name, table in (("user", users), ("item", items)):
        check_length(ids[name], len(table), name, where)
    bias = parts.get("item_bias")
    if parts.get("user_bias") is not None:
        column(parts["user_bias"], len(users), f"user_bias of {where}", ids["user"])
        notes = (*notes, USER_BIAS)
    return Factors(
        users,
        items,
        kind,
        None if bias is None else column(bias, len(items), f"item_bias of {where}", ids["item"]),
        ids["user"],
        ids["item"],
        dict(files or {}),
        notes,
    )


def matrix(values: Any, what: str, ids: Vocabulary | None = None) -> Array:
    """float32 (n, d), n and d at least 1, all finite.

    Raises:
        DataError: It is anything else; the first five rows that are not finite are named.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise DataError(
            f"The {what} hold {array.dtype} values. Expected float16, float32 or float64."
        )
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"The {what} have the shape {array.shape}. Expected two dimensions, a row for each and "
            f"at least one number a row."
        )
    return _finite(array, what, ids)


def column(values: Any, rows: int, what: str, ids: Vocabulary | None = None) -> Array:
    """float32 (rows,) of values (rows,) or (rows, 1), all finite.

    Raises:
        DataError: It is anything else.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.shape not in ((rows,), (rows, 1)):
        raise DataError(
            f"The {what} has {array.dtype} values of the shape {array.shape}. Expected a float for "
            f"each row: ({rows},)."
        )
    return _finite(array.reshape(rows, 1), what, ids)[:, 0]


def _finite(array: Array, what: str, ids: Vocabulary | None) -> Array:
    with np.errstate(over="ignore"):
        found: Array = np.ascontiguousarray(array, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(found).all(1))
    if len(wrong):
        known = ids is not None and len(ids) == len(found)
        rows = ", ".join(
            f"{row} ({ids.take(np.array([row]))[0]})" if known and ids else str(row)
            for row in wrong[:5]
        )
        raise DataError(
            f"The {what} have NaN or infinity in {len(wrong):,} of {len(found):,} rows, the first "
            f"{rows}. Expected finite numbers within float32; train the model again or leave these "
            f"rows out."
        )
    return found


def identifiers(values: Any, what: str) -> Vocabulary:
    """Distinct ids of text or integers, in the order of the rows.

    Raises:
        DataError: They are of another kind, null, empty, or there twice; the first are named.
    """
    try:
        series = values if isinstance(values, pl.Series) else pl.Series(np.asarray(values).ravel())
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"The {what} cannot be read: {error}. Expected text or integers.") from None
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)
    if series.dtype != pl.String and not series.dtype.is_integer():
        raise DataError(f"The {what} are of the type {series.dtype}. Expected text or integers.")
    try:
        found = Vocabulary(series)
    except DataError as error:
        raise DataError(f"The {what} are not one for each row: {error}") from None
    if (empty := np.flatnonzero((found.series == "").to_numpy())).size:
        raise DataError(f"The {what} are empty in row {empty[0]}. Expected an id in each row.")
    return found


def check_length(ids: Vocabulary | None, rows: int, name: str, where: str) -> None:
    """Refuse ids that are not as many as the rows they name.

    Raises:
        DataError: Both numbers are told.
    """
    if ids is not None and len(ids) != rows:
        raise DataError(
            f"There are {len(ids):,} {name} ids for the {rows:,} {name} rows of {where}. Expected "
            f"one id for each row, in the order of the rows."
        )
