"""Candidate lists: one held-out item among others, for protocols that were published with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lorarec.errors import DataError


@dataclass(frozen=True, eq=False)
class CandidateLists:
    """m lists of one length; a user may have several.

    Attributes:
        users: Ids (m,).
        candidates: Ids (m · width,): of each list the held-out item, then the others.
        width: Candidates a list.
    """

    users: pl.Series
    candidates: pl.Series
    width: int

    @classmethod
    def of(cls, frame: pl.DataFrame) -> CandidateLists:
        """Lists from a table, checked.

        Args:
            frame: `user_id`, `positive` (the held-out item) and `candidates` (a list of items, the
                held-out one anywhere in it).

        Raises:
            DataError: There is no list, a list has an item twice or lacks its held-out item, or
                lists have several lengths; the first five users are named.
        """
        if not frame.height:
            raise DataError("There are no candidate lists. Expected at least one.")
        length = pl.col("candidates").list.len()
        for wrong, what in (
            (length != pl.col("candidates").list.n_unique(), "hold an item twice"),
            (~pl.col("candidates").list.contains(pl.col("positive")), "lack the held-out item"),
            (length != length.first(), "are not as long as the first"),
        ):
            users = frame.filter(wrong.fill_null(True))["user_id"]
            if len(users):
                raise DataError(
                    f"{len(users)} of {frame.height} candidate lists {what}, first users: "
                    f"{users[:5].to_list()}. Expected lists of one length, each item once, with "
                    f"the held-out item among them."
                )
        others = pl.concat_list(
            "positive",
            pl.col("candidates").list.set_difference(pl.concat_list("positive")),
        )
        ordered = frame.select(others.alias("candidates"))["candidates"]
        return cls(frame["user_id"], ordered.explode(), int(ordered.list.len()[0]))

    def repeated_users(self) -> pl.Series:
        """The list's user for every candidate: ids (m · width,)."""
        return self.users.gather(np.repeat(np.arange(len(self.users)), self.width))


def drawn_negatives(
    users: npt.NDArray[np.int64],
    seen: Any,
    items: int,
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Items drawn alike with replacement, each again while its user has had it.

    Args:
        users: int64 (m,) rows of `seen`.
        seen: CSR (users, items); stored entries are never drawn.
        items: How many there are to draw from.
        count: Draws a row.
        rng: Of the draws.

    Returns:
        int64 (m, count), each from 0 to items - 1.

    Raises:
        DataError: A user has had every item.
    """
    full = np.flatnonzero(np.diff(seen.indptr)[users] >= items)
    if full.size:
        raise DataError(
            f"{full.size} users have had all {items} items, first: {users[full[:5]].tolist()}. "
            f"Expected an item that can be drawn for each."
        )
    known = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)) * items + seen.indices
    known = np.sort(known)
    drawn = rng.integers(0, items, (len(users), count))
    again = np.ones(drawn.shape, dtype=np.bool_)
    while again.any():
        row, column = np.nonzero(again)
        keys = users[row] * items + drawn[row, column]
        place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
        had = known[place] == keys if len(known) else np.zeros(len(keys), dtype=np.bool_)
        drawn[row[had], column[had]] = rng.integers(0, items, int(had.sum()))
        again = np.zeros(drawn.shape, dtype=np.bool_)
        again[row[had], column[had]] = True
    return drawn
