"""id ↔ row, append-only: a row once given never moves, and a digest proves it.

An id that was forgotten leaves its row empty (a tombstone, null), so that all others keep theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from lorarec.data.digest import hash_strings
from lorarec.data.tables import write_parquet
from lorarec.errors import ArtifactError, DataError, NotFoundError

_DIGEST_KEY = "lorarec.vocabulary.digest"
_MOST_PARTS = 4
"""Extensions that are looked up one after another; more are copied into one."""
Ids = pl.Series | Sequence[str] | np.ndarray[Any, Any]


class Vocabulary:
    """An immutable list of distinct ids; an id's place in it is its row in every table.

    Args:
        ids: Distinct ids, not null. Integers become strings.

    Raises:
        DataError: An id is null or stands there twice.
    """

    def __init__(self, ids: Ids = ()) -> None:
        series = _as_strings(ids)
        if series.null_count():
            raise DataError(
                f"{series.null_count()} of {len(series)} ids are null. Expected an id in each row."
            )
        repeated = series.filter(series.is_duplicated())
        if len(repeated):
            some = ", ".join(repr(i) for i in repeated.unique(maintain_order=True).head(5))
            raise DataError(f"{len(repeated)} ids repeat: {some}. Expected every id once.")
        self._ids = series
        self._parts: tuple[Vocabulary, ...] = ()
        """Vocabularies whose ids follow each other here; none where it looks them up itself."""

    @classmethod
    def of_distinct(cls, ids: pl.Series) -> Vocabulary:
        """A vocabulary of ids that are known to be distinct and not null; nothing is checked.

        Args:
            ids: String (n,).
        """
        vocabulary = cls()
        vocabulary._ids = ids.alias("id").rechunk()
        return vocabulary

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids, digest {self.digest()[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._ids.equals(other._ids)

    def __hash__(self) -> int:
        return hash(self.digest())

    @cached_property
    def ids(self) -> np.ndarray[Any, Any]:
        """Every id in row order: object array (n,) of str, None of a forgotten one. Read-only."""
        array = np.array(self._ids.to_list(), dtype=object)
        array.setflags(write=False)
        return array

    @property
    def series(self) -> pl.Series:
        """Every id in row order, as a String series (n,), null where it was forgotten."""
        return self._ids

    def rows(self, ids: Ids, missing: Literal["raise", "mark"] = "raise") -> np.ndarray[Any, Any]:
        """Rows of ids.

        Args:
            ids: Any number of ids, repeats allowed. Integers become strings.
            missing: What an unknown or null id gives: an error, or -1.

        Returns:
            int64 (len(ids),), in the order given; -1 marks an unknown id.

        Raises:
            NotFoundError: `missing="raise"` and some ids are not here.
        """
        wanted = _as_strings(ids)
        codes = self._lookup(wanted)
        if missing == "raise" and codes.null_count():
            unknown = wanted.filter(codes.is_null()).unique(maintain_order=True)
            some = ", ".join(repr(i) for i in unknown.head(5))
            raise NotFoundError(
                f"{len(unknown)} ids are unknown: {some}. Expected ids among the {len(self)} of "
                f"this vocabulary; grow it with the new ids first, or mark them."
            )
        return codes.fill_null(-1).to_numpy().astype(np.int64, copy=True)

    def take(self, rows: np.ndarray[Any, Any]) -> pl.Series:
        """Ids of rows.

        Args:
            rows: Integer (m,), each in [0, len).

        Returns:
            String series (m,).

        Raises:
            NotFoundError: A row is negative or past the end.
        """
        rows = np.asarray(rows, dtype=np.int64)
        outside = rows[(rows < 0) | (rows >= len(self))]
        if len(outside):
            raise NotFoundError(
                f"Rows {outside[:5].tolist()} are not in this vocabulary. "
                f"Expected rows from 0 to {len(self) - 1}."
            )
        return self._ids.gather(pl.Series(rows, dtype=pl.Int64))

    def extend(self, ids: Ids) -> Vocabulary:
        """A vocabulary that begins with this one and appends new distinct ids.

        Args:
            ids: Any ids; nulls and those already here are skipped.

        Returns:
            Rows of old ids are unchanged; new ids follow in order of first appearance.
        """
        wanted = _as_strings(ids).drop_nulls().unique(maintain_order=True)
        fresh = wanted.filter(self.rows(wanted, missing="mark") < 0)
        if not len(fresh):
            return self
        own = self._parts or ((self,) if len(self) else ())
        ids_of_all = pl.concat([self._ids, fresh], rechunk=False)
        if not own or len(own) == _MOST_PARTS:
            return Vocabulary.of_distinct(ids_of_all)
        # What is here is shared and not copied: many adapters each add a few ids to one base's.
        longer = Vocabulary()
        longer._ids = ids_of_all
        longer._parts = (*own, Vocabulary.of_distinct(fresh))
        return longer

    def without(self, ids: Ids) -> Vocabulary:
        """The same rows with some ids taken out: theirs are empty, and no look-up finds them.

        Args:
            ids: Any ids; those that are not here are skipped.
        """
        rows = self.rows(ids, missing="mark")
        gone = np.zeros(len(self), dtype=bool)
        gone[rows[rows >= 0]] = True
        if not gone.any():
            return self
        left = self._ids.to_frame().select(pl.when(~pl.Series(gone)).then(pl.col("id")))
        return Vocabulary.of_distinct(left.to_series())

    @property
    def forgotten(self) -> int:
        """How many rows are empty because their id was taken out."""
        return self._ids.null_count()

    def digest(self, length: int | None = None) -> str:
        """Hex SHA-256 over (row, id) of the first `length` rows.

        `longer.digest(len(shorter)) == shorter.digest()` proves that one begins with the other.

        Args:
            length: Rows to cover; None covers all.

        Raises:
            NotFoundError: `length` is negative or above the number of rows.
        """
        length = len(self) if length is None else length
        if not 0 <= length <= len(self):
            raise NotFoundError(
                f"A digest of {length} rows was asked for. Expected 0 to {len(self)} rows."
            )
        if length == len(self):
            return self._digest
        return _digest(self._ids.head(length))

    def starts_with(self, other: Vocabulary) -> bool:
        """Whether the first rows of this vocabulary are all of `other`, in the same order."""
        return len(self) >= len(other) and self._ids.head(len(other)).equals(other._ids)

    def save(self, path: Path | str) -> str:
        """Write as parquet (columns `row`, `id`), whole or not at all.

        Returns:
            The digest, which is written into the file too.

        Raises:
            StoreError: The disk refused.
        """
        frame = pl.DataFrame({"row": np.arange(len(self), dtype=np.int64), "id": self._ids})
        write_parquet(frame, path, metadata={_DIGEST_KEY: self.digest()})
        return self.digest()

    @classmethod
    def load(cls, path: Path | str, digest: str | None = None) -> Vocabulary:
        """Read what `save` wrote.

        Args:
            path: The parquet file.
            digest: The digest that the ids must have; None trusts the one in the file.

        Raises:
            ArtifactError: The file is missing, truncated, edited, or of another digest.
        """
        path = Path(path)
        if not path.is_file():
            raise ArtifactError(f"{path} is missing. Expected the ids of this artefact.")
        try:
            written = pl.read_parquet_metadata(path).get(_DIGEST_KEY)
            frame = pl.read_parquet(path, columns=["row", "id"], glob=False)
            whole = frame["row"].equals(pl.Series("row", range(len(frame)), dtype=pl.Int64))
            cls(frame["id"].drop_nulls())  # refuses what repeats
            vocabulary = cls.of_distinct(_as_strings(frame["id"]))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise ArtifactError(
                f"{path} is not a whole vocabulary file ({error}). Get the artefact again."
            ) from error
        except DataError as error:
            raise ArtifactError(f"{path} is damaged: {error} Get the artefact again.") from error
        expected = digest or written
        if not whole or vocabulary.digest() != expected:
            raise ArtifactError(
                f"{path} has digest {vocabulary.digest()[:12]}, expected "
                f"{(expected or 'none')[:12]}. It was truncated or edited; get the artefact again."
            )
        return vocabulary

    @cached_property
    def _digest(self) -> str:
        return _digest(self._ids)

    def _lookup(self, wanted: pl.Series) -> pl.Series:
        """Rows of `wanted`, null where unknown. A few ids skip hashing the whole vocabulary."""
        if self._parts:
            found, before = self._parts[0]._lookup(wanted), len(self._parts[0])
            for part in self._parts[1:]:
                found = found.zip_with(found.is_not_null(), part._lookup(wanted) + before)
                before += len(part)
            return found
        table = self._table
        if len(wanted) < len(self) // 8:
            table = table.filter(pl.col("id").is_in(wanted.implode()))
        joined = wanted.to_frame().join(table, on="id", how="left", maintain_order="left")
        return joined["row"]

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"id": self._ids, "row": np.arange(len(self), dtype=np.int64)})


def _digest(ids: pl.Series) -> str:
    digest = hashlib.sha256()
    hash_strings(digest, ids)
    digest.update(len(ids).to_bytes(8, "little"))
    return digest.hexdigest()


def _as_strings(ids: Ids) -> pl.Series:
    series = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=None)
    return series.alias("id").cast(pl.String).rechunk()
