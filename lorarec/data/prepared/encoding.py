"""Strings to rows, batch after batch, in memory that grows with the distinct ids alone."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.prepared.id_table import IdTable

Array = np.ndarray[Any, Any]
_CHUNK = 1 << 17
"""Ids looked up at once: most that repeat are then known by their second chunk, and what is worked
on stays in the processor's cache."""


class IdEncoder:
    """Gives every id a row: its old one, or the next free one in order of first appearance.

    Polars hashes the strings, with two seeds drawn anew each time, and `IdTable` numbers the
    hashes: four times as fast as a categorical column of Polars on 50M ids, of which 5M differ.

    Args:
        known: Ids that have a row already, in the order of their rows: String (k,), distinct.
    """

    def __init__(self, known: pl.Series | None = None) -> None:
        self._known = pl.Series("id", [], dtype=pl.String) if known is None else known.alias("id")
        self._seeds = secrets.randbits(64), secrets.randbits(64)
        self._known_hashes: tuple[Array, Array] | None = None
        self._table = IdTable()
        self._row_of_number: Array = np.empty(0, dtype=np.int64)
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
        first, second = self._hashes(ids)
        numbers = np.empty(len(ids), dtype=np.int64)
        places = [np.empty(0, dtype=np.int64)]
        for start in range(0, len(ids), _CHUNK):
            part = slice(start, start + _CHUNK)
            found = self._table.find(first[part], second[part])
            new = np.flatnonzero(found < 0)
            if len(new):
                at = new + start
                found[new], appears = self._table.add(first[at], second[at])
                places.append(at[appears])
            numbers[part] = found
        if len(self._row_of_number) < len(self._table):
            self._admit(ids.gather(pl.Series(np.concatenate(places))))
        rows: Array = self._row_of_number.take(numbers) if len(self._known) else numbers
        return rows

    def get_ready(self) -> None:
        """Hash the known ids, so that the first batch need not wait for it."""
        if len(self._known) and self._known_hashes is None:
            self._known_hashes = self._hashes(self._known)

    def ids(self) -> pl.Series:
        """All ids so far in the order of their rows, the known ones first: String (n,)."""
        return pl.concat([self._known, *self._fresh])

    def fresh(self) -> pl.Series:
        """The ids that got a row here, in the order of their rows."""
        return pl.concat(self._fresh) if self._fresh else pl.Series("id", [], dtype=pl.String)

    def _admit(self, names: pl.Series) -> None:
        """Give rows to ids that have just got a number, in that order.

        The known ids are looked for among the numbered ones, not the other way: a day's logs name
        few of them, and a small table is quick to ask.
        """
        before, after = len(self._row_of_number), len(self._table)
        rows = np.full(after - before, -1, dtype=np.int64)
        if len(self._known):
            self.get_ready()
            assert self._known_hashes is not None
            first, second = self._known_hashes
            for start in range(0, len(first), _CHUNK):
                at = start + self._table.candidates(first[start : start + _CHUNK])
                numbers = self._table.find(first[at], second[at])
                theirs = np.flatnonzero(numbers >= before)
                rows[numbers[theirs] - before] = at[theirs]
        new = np.flatnonzero(rows < 0)
        rows[new] = np.arange(self._next, self._next + len(new))
        self._row_of_number = np.concatenate([self._row_of_number, rows])
        if len(new):
            self._next += len(new)
            fresh = names if len(new) == len(names) else names.gather(pl.Series(new))
            self._fresh.append(fresh.alias("id"))

    def _hashes(self, ids: pl.Series) -> tuple[Array, Array]:
        first, second = (ids.hash(seed).to_numpy() for seed in self._seeds)
        return first, second
