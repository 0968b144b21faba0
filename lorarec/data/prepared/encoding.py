"""Strings to rows, batch after batch, in memory that grows with the distinct ids alone."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
UNSEEN = -1


class IdEncoder:
    """Gives every id a row: its old one, or the next free one in order of first appearance.

    Polars keeps the hash table, as the categories of a column type of our own. Its codes may come
    in any order, so they are only a way to look up the rows that are given here.

    Args:
        known: Ids that have a row already.
    """

    def __init__(self, known: Vocabulary | None = None) -> None:
        self._known = known if known is not None else Vocabulary()
        self._categories = pl.Categories(uuid.uuid4().hex, namespace="lorarec", physical=pl.UInt32)
        self._dtype = pl.Categorical(self._categories)
        self._row_of_code: Array = np.full(1024, UNSEEN, dtype=np.int64)
        self._fresh: list[pl.Series] = []
        self._next = len(self._known)

    def __len__(self) -> int:
        """How many ids have a row."""
        return self._next

    def encode(self, ids: pl.Series) -> Array:
        """Rows of ids, int64 (n,), in their order; new ids get rows.

        Args:
            ids: String (n,), no nulls.
        """
        coded = ids.cast(self._dtype)
        codes = coded.to_physical().to_numpy()
        top = int(codes.max()) + 1 if len(codes) else 0
        if top > len(self._row_of_code):
            longer = np.full(max(top, 2 * len(self._row_of_code)), UNSEEN, dtype=np.int64)
            longer[: len(self._row_of_code)] = self._row_of_code
            self._row_of_code = longer
        rows = self._row_of_code[codes]
        unseen = np.flatnonzero(rows == UNSEEN)
        if len(unseen):
            self._admit(ids, codes, unseen)
            rows = self._row_of_code[codes]
        found: Array = rows
        return found

    def vocabulary(self) -> Vocabulary:
        """All ids so far, the known ones first."""
        fresh = self.fresh()
        return (
            Vocabulary.of_distinct(pl.concat([self._known.series, fresh]))
            if len(fresh)
            else (self._known)
        )

    def fresh(self) -> pl.Series:
        """The ids that got a row here, in the order of their rows."""
        return pl.concat(self._fresh) if self._fresh else pl.Series("id", [], dtype=pl.String)

    def _admit(self, ids: pl.Series, codes: Array, unseen: Array) -> None:
        """Give a row to every distinct id at the places `unseen`, by first appearance."""
        distinct, first = np.unique(codes[unseen], return_index=True)
        order = np.argsort(first, kind="stable")
        distinct, place = distinct[order], unseen[first[order]]
        names = ids.gather(pl.Series(place)).alias("id")
        rows = (
            self._known.rows(names, missing="mark")
            if len(self._known)
            else np.full(len(names), UNSEEN, dtype=np.int64)
        )
        new = np.flatnonzero(rows == UNSEEN)
        rows[new] = np.arange(self._next, self._next + len(new))
        self._row_of_code[distinct] = rows
        if len(new):
            self._next += len(new)
            self._fresh.append(names.gather(pl.Series(new)))
