"""Which columns of a table are features, and of which kind, by their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from lorarec.data.features.reading import keys_of
from lorarec.data.features.specs import FeatureSpec
from lorarec.data.vocabulary import Ids, Vocabulary
from lorarec.errors import ConfigError, did_you_mean

FEW = 50
"""Integers of at most this many different values are categories, of more a number."""
ID_LIKE = 0.8
"""Text with more different values than this share of its rows is left out, like an id."""


@dataclass(frozen=True)
class Inferred:
    """The features found, and what was left out and why."""

    specs: tuple[FeatureSpec, ...]
    """In the table's order."""
    left_out: dict[str, str]
    """Column → the reason, such as `it is the same in every row`."""


def infer_specs(
    frame: pl.DataFrame,
    id_column: str,
    ids: Ids | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Inferred:
    """Specs by these rules; what they leave out is said, and any column may be overridden.

    - Booleans are categorical. So is text, unless more than 80 % of its values are
      different ones, like titles and ids.
    - Integers are left out when all differ; otherwise they are categorical up to 50 different
      values and numeric above.
    - Floats and decimals are numeric; dates and times too, in days since 1970.
    - Lists of text, integers or booleans are categories.
    - Arrays of numbers are vectors, and lists of floats of one length.
    - Columns that are empty, the same in every row, or of another type are left out.

    Args:
        frame: A table with one row an id.
        id_column: The column of the ids; it is no feature.
        ids: Look only at the rows of these, such as the ids of train. None looks at all.
        overrides: Column → fields of its `FeatureSpec` that replace what was found, such as
            `{"year": {"kind": "numeric"}}`; the kind `ignore` leaves the column out.

    Raises:
        DataError: The ids are missing, null or repeat.
        ConfigError: An override names no column or breaks a rule of `FeatureSpec`.
    """
    keys, overrides = keys_of(frame, id_column), overrides or {}
    _refuse_unknown(overrides, [c for c in frame.columns if c != id_column])
    if ids is not None:
        rows = keys.rows(Vocabulary().extend(_series(ids)).series, missing="mark")
        frame = frame[rows[rows >= 0]]
    specs, left_out = [], {}
    for name in (c for c in frame.columns if c != id_column):
        found = _overridden(_guess(frame[name]), overrides.get(name))
        if isinstance(found, str):
            left_out[name] = found
        else:
            specs.append(_spec(name, found))
    return Inferred(tuple(specs), left_out)


def _guess(column: pl.Series) -> dict[str, Any] | str:
    """Fields of a spec, or why there is none."""
    there, dtype = column.drop_nulls(), column.dtype
    if there.is_empty():
        return "it is empty"
    if isinstance(dtype, pl.List | pl.Array):
        return _guess_lists(there)
    text = dtype in (pl.String, pl.Categorical, pl.Enum)
    numeric = dtype.is_float() or dtype.is_decimal() or dtype in (pl.Date, pl.Datetime)
    if not (text or numeric or dtype.is_integer() or dtype == pl.Boolean):
        return f"{dtype} is no kind of feature"
    distinct = there.n_unique()
    if distinct == 1 and not column.null_count():
        return "it is the same in every row"
    if numeric:
        return {"kind": "numeric"}
    like_id = distinct > ID_LIKE * len(there) if text else distinct == len(there)
    if like_id and dtype != pl.Boolean:
        return f"{distinct:,} of its {len(there):,} values differ, like an id"
    return {"kind": "numeric" if dtype.is_integer() and distinct > FEW else "categorical"}


def _guess_lists(there: pl.Series) -> dict[str, Any] | str:
    dtype = there.dtype
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
    if isinstance(dtype, pl.Array) and inner.is_numeric():
        return {"kind": "vector", "dim": dtype.size}
    if inner in (pl.String, pl.Categorical, pl.Enum, pl.Boolean) or inner.is_integer():
        return {"kind": "categories"}
    if not inner.is_float():
        return f"{dtype} is no kind of feature"
    lengths = there.list.len()
    shortest, longest = int(lengths.min()), int(lengths.max())  # type: ignore[arg-type]
    if shortest != longest or not shortest:
        return f"its lists have {shortest} to {longest} numbers, and a vector one length"
    return {"kind": "vector", "dim": shortest}


def _overridden(found: dict[str, Any] | str, given: Mapping[str, Any] | None) -> Any:
    if given is None:
        return found
    if given.get("kind") == "ignore":
        return "the settings say so"
    same = isinstance(found, dict) and given.get("kind", found["kind"]) == found["kind"]
    return {**(found if same and isinstance(found, dict) else {}), **given}


def _spec(name: str, fields: Mapping[str, Any]) -> FeatureSpec:
    try:
        return FeatureSpec(**{**fields, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"Feature {name!r}{f', {where}' if where else ''}: "
            f"{first['msg'].removeprefix('Value error, ')}. Found {dict(fields)}; expected fields "
            f"among {', '.join(f for f in FeatureSpec.model_fields if f != 'name')}."
        ) from error


def _refuse_unknown(overrides: Mapping[str, Any], columns: list[str]) -> None:
    for name in overrides:
        if name not in columns:
            raise ConfigError(
                f"The settings describe the feature {name!r}, and the table has no such column."
                f"{did_you_mean(name, columns)}"
            )


def _series(ids: Ids) -> pl.Series:
    return ids if isinstance(ids, pl.Series) else pl.Series(list(ids))
