"""From a table of side features to arrays, with statistics of train rows only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lorarec.data.features.reading import keys_of
from lorarec.data.features.specs import COUNTED, FeatureSpec, refuse_repeats
from lorarec.data.features.statistics import Array, Categories, Moments, fit_moments, unit_rows
from lorarec.data.features.table import FeatureTable, Vectors, bags_of
from lorarec.data.features.values import as_members, as_numbers, as_text, as_vectors
from lorarec.data.vocabulary import Ids, Vocabulary
from lorarec.errors import DataError, did_you_mean
from lorarec.storage import sha256_bytes


@dataclass(frozen=True, eq=False)
class FeatureEncoder:
    """Specs and their fitted statistics; immutable. Made by `fit`, grown by `extended`.

    A model is trained beside one encoder and frozen, so what the model has seen must not move:
    growing appends categories behind the old ones, and means and deviations stay as fitted.
    """

    id_column: str
    """The column of ids in every table."""
    specs: tuple[FeatureSpec, ...]
    """One a feature, in the order of the arrays."""
    categories: dict[str, Categories]
    """Of the features of kind categorical and categories."""
    moments: dict[str, Moments]
    """Of the numeric features."""
    rows: int
    """Train rows that it was fitted on."""

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, id_column: str, train_ids: Ids, specs: Sequence[FeatureSpec]
    ) -> FeatureEncoder:
        """Statistics from the rows of train ids; the other rows are not looked at.

        Args:
            frame: A table with one row an id.
            id_column: Its column of ids.
            train_ids: Ids with a train row in the interactions, repeats allowed; those without a
                row in the table are skipped.
            specs: What each feature is.

        Raises:
            DataError: Ids are null or repeat; no train id has a row; a column is missing, of a
                wrong type, or holds what its kind does not allow.
            ConfigError: Two specs name the same column.
        """
        specs = tuple(specs)
        refuse_repeats(specs)
        train, ids = _rows_of(frame, id_column, train_ids)
        categories, moments = {}, {}
        for spec in specs:
            column = _column(train, spec)
            if spec.kind in COUNTED:
                categories[spec.name] = Categories().extended(_mentions(column, spec), spec)
            elif spec.kind == "numeric":
                moments[spec.name] = fit_moments(as_numbers(column, ids), spec)
            else:
                as_vectors(column, spec.dim or 0, ids)
        return cls(id_column, specs, categories, moments, train.height)

    def transform(self, frame: pl.DataFrame, ids: Ids) -> FeatureTable:
        """Features of any ids, in their order: warm, cold or without a row in the table.

        Args:
            frame: A table with one row an id, of today or of a later day.
            ids: Such as all ids of a vocabulary, `vocabulary.series`; repeats allowed. One that is
                null or has no row in the table is missing everywhere.

        Returns:
            Arrays of len(ids) rows.

        Raises:
            DataError: The table's ids are null or repeat; a column is missing, of a wrong type, or
                holds, in the rows asked for, what its kind does not allow.
        """
        wanted = _strings(ids)
        found = keys_of(frame, self.id_column).rows(wanted, missing="mark")
        known = found >= 0
        # A null index gathers a null value, which is how every kind says missing.
        index = pl.Series(found).set(pl.Series(~known), None)
        codes, bags, numbers, vectors = {}, {}, [], {}
        for spec in self.specs:
            column = _column(frame, spec).gather(index)
            if spec.kind == "categorical":
                codes[spec.name] = self.categories[spec.name].codes(as_text(column))
            elif spec.kind == "categories":
                rows, text, missing = as_members(column)
                learnt = self.categories[spec.name]
                bags[spec.name] = bags_of(rows, learnt.codes(text), missing, learnt.size)
            elif spec.kind == "numeric":
                values = as_numbers(column, wanted)
                numbers.append(self.moments[spec.name].standardise(values, spec))
            else:
                dense, missing = as_vectors(column, spec.dim or 0, wanted)
                vectors[spec.name] = Vectors(unit_rows(dense) if spec.normalise else dense, missing)
        return FeatureTable(
            known=known,
            categorical=codes,
            categories=bags,
            numeric_names=tuple(s.name for s in self.specs if s.kind == "numeric"),
            numeric=_stacked([values for values, _ in numbers], len(wanted), np.float32),
            numeric_missing=_stacked([missing for _, missing in numbers], len(wanted), np.bool_),
            vectors=vectors,
        )

    def extended(self, frame: pl.DataFrame, train_ids: Ids) -> FeatureEncoder:
        """This encoder with categories that it did not know appended; all else as it was.

        Counts are those of the rows given: pass today's whole table for a category to be counted
        over all of its rows.

        Args:
            frame: A table with one row an id.
            train_ids: Ids with a train row; only their rows are looked at.

        Returns:
            Old codes, means and deviations unchanged; `starts_with(self)` holds.

        Raises:
            DataError: As `fit`.
        """
        train, _ = _rows_of(frame, self.id_column, train_ids)
        grown = {
            spec.name: self.categories[spec.name].extended(
                _mentions(_column(train, spec), spec), spec
            )
            for spec in self.specs
            if spec.kind in COUNTED
        }
        return FeatureEncoder(self.id_column, self.specs, grown, self.moments, self.rows)

    @property
    def sizes(self) -> dict[str, int]:
        """Feature → rows that its embedding table needs, the unknown row included."""
        return {name: learnt.size for name, learnt in self.categories.items()}

    def digest(self, sizes: Mapping[str, int] | None = None) -> str:
        """Hex SHA-256 over specs, moments, and the categories in order with their counts.

        `later.digest(earlier.sizes) == earlier.digest()` proves that no old code has moved.

        Args:
            sizes: Feature → rows to cover, as `sizes` gives them; None covers all.

        Raises:
            NotFoundError: A size is below 1 or above what there is.
        """
        head = json.dumps([self.id_column, self.rows, len(self.specs)])
        parts = [head.encode()]
        for spec in self.specs:
            # Without defaults, so that an option of a later version leaves old digests as they are.
            fields = spec.model_dump(exclude_defaults=True)
            parts.append(json.dumps(fields, sort_keys=True).encode())
            if spec.name in self.moments:
                fitted = self.moments[spec.name]
                parts.append(f"{fitted.mean.hex()} {fitted.std.hex()}".encode())
            if spec.name in self.categories:
                learnt = self.categories[spec.name]
                length = (sizes or self.sizes).get(spec.name, learnt.size) - 1
                parts.append(learnt.vocabulary.digest(length).encode())
                parts.append(learnt.counts[:length].astype("<i8").tobytes())
        return sha256_bytes(*parts)

    def starts_with(self, other: FeatureEncoder) -> bool:
        """Whether what was encoded with `other` has the same codes and numbers here."""
        if self.specs != other.specs:
            return False
        longer = all(size <= self.sizes[name] for name, size in other.sizes.items())
        return longer and self.digest(other.sizes) == other.digest()


def _rows_of(frame: pl.DataFrame, id_column: str, ids: Ids) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of ids, each once, and their ids."""
    wanted = Vocabulary().extend(_strings(ids)).series
    rows = keys_of(frame, id_column).rows(wanted, missing="mark")
    rows = rows[rows >= 0]
    if not len(rows):
        some = ", ".join(repr(i) for i in wanted.head(5)) or "none"
        there = ", ".join(repr(i) for i in frame[id_column].head(5)) or "none"
        raise DataError(
            f"None of {len(wanted):,} train ids ({some}) has a row in the table of features, whose "
            f"column {id_column!r} begins with {there}. Expected ids of the interactions there; "
            f"look at both with: lorarec data describe"
        )
    chosen = frame[rows]
    return chosen, chosen[id_column].cast(pl.String)


def _column(frame: pl.DataFrame, spec: FeatureSpec) -> pl.Series:
    if spec.name not in frame.columns:
        raise DataError(
            f"The table of features has no column {spec.name!r}."
            f"{did_you_mean(spec.name, frame.columns)} Expected every column that the encoder was "
            f"fitted on."
        )
    return frame[spec.name]


def _mentions(column: pl.Series, spec: FeatureSpec) -> pl.Series:
    """A category for each row that has it."""
    return as_text(column) if spec.kind == "categorical" else as_members(column)[1]


def _stacked(columns: list[Array], rows: int, dtype: type[np.generic]) -> Array:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), dtype=dtype)


def _strings(ids: Ids) -> pl.Series:
    series = ids if isinstance(ids, pl.Series) else pl.Series(list(ids))
    return series.cast(pl.String).rename("id")
