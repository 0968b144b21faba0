"""The rows of a data set in pieces that hold whole histories, and the part of each row.

A user's history in a domain is all that a draw or leave-last-out looks at. It lies in one piece, so
that such a split is found in memory of a piece, on numbers alone; and as nothing of it is stored,
the data set of any earlier generation is split as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.draw import Pairs, Tally
from lorarec.data.hashing import id_keys
from lorarec.data.part_counts import PARTS
from lorarec.data.prepared.manifest import VOCABULARIES, FileRecord, of_table
from lorarec.data.prepared.shards import read_ids, scan_rows
from lorarec.data.splits import SplitRecord, draw_line
from lorarec.data.timeline import leave_last_out

Array = np.ndarray[Any, Any]
MOST = 1 << 22
"""Rows of a piece, about: 4,194,304."""
COLUMNS = ("user", "item", "domain", "timestamp")


def pieces(
    folder: Path, files: Sequence[FileRecord], columns: Sequence[str] = COLUMNS, most: int = MOST
) -> Iterator[pl.DataFrame]:
    """All rows, domain after domain; those of a user in a domain in one piece, oldest first.

    Args:
        folder: Of the data set.
        files: Its files.
        columns: Of `shards.ROWS`.
        most: Rows of a piece, about; more only where one user has more in a domain.
    """
    rows = scan_rows(folder, of_table(files, "rows"))
    found = rows.select("domain").group_by("domain").agg(rows=pl.len()).collect().sort("domain")
    wanted = rows.select(columns)
    for first, last, shares in _ranges(found["domain"].to_list(), found["rows"].to_list(), most):
        near = wanted.filter(pl.col("domain").is_between(first, last))
        for share in range(shares):
            mine = near if shares == 1 else near.filter(pl.col("user") % shares == share)
            if (piece := mine.collect()).height:
                yield piece


class Assigned:
    """Pieces with `split` set, for a split that looks at histories.

    Args:
        folder: Of the data set.
        files: Its files.
        split: Random or leave-last-out.
        columns: Of `shards.ROWS`; `COLUMNS` must be among them.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[FileRecord],
        split: SplitRecord,
        columns: Sequence[str] = COLUMNS,
    ) -> None:
        self._folder, self._files, self._split = folder, files, split
        self._columns = columns
        self._keys = vocabulary_keys(folder, files) if split.used == "random" else None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for piece in pieces(self._folder, self._files, self._columns):
            yield piece.with_columns(split=self._parts(piece).cast(pl.String))

    def _parts(self, piece: pl.DataFrame) -> pl.Series:
        if self._keys is None:
            return leave_last_out(piece, user="user")["split"]
        pairs = _pairs(piece, self._keys, self._split.seed)
        codes = pl.Series(pairs.parts(draw_line(self._split)))
        return pl.Series(PARTS, dtype=pl.Enum(PARTS)).gather(codes)


def cuts_of(
    folder: Path, files: Sequence[FileRecord], shares: Sequence[float], seed: int
) -> list[int] | None:
    """Where a random split cuts the line of drawn numbers, as `draw.draw_cuts`."""
    keys, tally = vocabulary_keys(folder, files), Tally()
    for piece in pieces(folder, files):
        tally.add(_pairs(piece, keys, seed))
    return tally.cuts(shares)


def vocabulary_keys(folder: Path, files: Sequence[FileRecord]) -> tuple[Array, Array, Array]:
    """`hashing.id_keys` of users, items and domains, in the order of their rows.

    An id that was forgotten has no row in the data set, so any number does for it.
    """
    users, items, domains = (
        id_keys(read_ids(folder, of_table(files, table)).fill_null("")) for table in VOCABULARIES
    )
    return users, items, domains


def _pairs(piece: pl.DataFrame, keys: tuple[Array, Array, Array], seed: int) -> Pairs:
    user, item, domain = (piece[name].to_numpy() for name in ("user", "item", "domain"))
    return Pairs.of_codes((user, item, domain), keys, seed)


def _ranges(domains: list[int], rows: list[int], most: int) -> Iterator[tuple[int, int, int]]:
    """Neighbouring domains that fit a piece together, or one and in how many it is taken."""
    start, filled = 0, 0
    for place, count in enumerate(rows):
        if filled and filled + count > most:
            yield domains[start], domains[place - 1], 1
            start, filled = place, 0
        if count > most:
            yield domains[place], domains[place], -(-count // most)
            start = place + 1
        else:
            filled += count
    if filled:
        yield domains[start], domains[-1], 1
