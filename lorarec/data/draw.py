"""A seeded draw of held-out pairs, in which every pair falls by itself.

Each distinct (user, item, domain) gets a number from its ids and the seed alone. The line of
numbers is cut as the timeline is by time:

    0            cut            cut        2^20
    |---- rest ---|--- part 1 ---|-- part 2 --|

so a pair keeps its part whatever rows come later and in whatever order they lie. One pair stays in
the rest whatever its number: the first of a user in a domain, so that nobody loses the whole
history there. Rows that are added behind the others do not change which one that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.hashing import id_keys, mixed

Array = np.ndarray[Any, Any]
NUMBERS = 1 << 20
"""Numbers are drawn from 0 to below this."""


@dataclass(frozen=True)
class Pairs:
    """Rows as numbers, in their order: all that a draw looks at.

    Attributes:
        user: Codes of the users, integers (n,) from 0 to below 2^32.
        item: Codes of the items, the same.
        domain: Codes of the domains, below 2^16.
        number: What each row's pair has drawn, int32 (n,).
    """

    user: Array
    item: Array
    domain: Array
    number: Array

    @classmethod
    def of_codes(
        cls, columns: tuple[Array, Array, Array], keys: tuple[Array, Array, Array], seed: int
    ) -> Pairs:
        """Rows of codes.

        Args:
            columns: Codes of users, items and domains, each (n,).
            keys: `id_keys` of each code, in the same order.
            seed: Of the draw.
        """
        drawn = mixed(np.asarray([seed], dtype=np.uint64))
        for codes, key in zip(columns, keys, strict=True):
            drawn = mixed(drawn + key[codes])
        return cls(*columns, (drawn >> np.uint64(44)).astype(np.int32))

    @classmethod
    def of_frame(cls, frame: pl.DataFrame, seed: int) -> Pairs:
        """Rows of canonical logs."""
        user, users = codes(frame["user_id"])
        item, items = codes(frame["item_id"])
        domain, domains = codes(frame["domain"])
        keys = (id_keys(users), id_keys(items), id_keys(domains))
        return cls.of_codes((user, item, domain), keys, seed)

    def first(self) -> Array:
        """Whether a row is of the first pair of its user in its domain, bool (n,)."""
        group = (self.user.astype(np.uint64) << np.uint64(16)) | self.domain.astype(np.uint64)
        _, first, place = np.unique(group, return_index=True, return_inverse=True)
        kept: Array = self.item == self.item[first[place]]
        return kept

    def parts(self, cuts: Sequence[int]) -> Array:
        """The part of each row, int64 (n,): 0 below the first cut and for a user's first pair."""
        part = np.searchsorted(cuts, self.number, side="right")
        part[self.first()] = 0
        return part


@dataclass
class Tally:
    """Counts the pairs of rows that stream by, to cut the line of numbers where shares ask for."""

    pairs: int = 0
    """Distinct ones so far."""
    free: Array = field(default_factory=lambda: np.zeros(NUMBERS, dtype=np.int64))
    """By number: pairs that a draw may hold out."""

    def add(self, rows: Pairs) -> None:
        """Take in rows; all rows of a user in a domain come together."""
        first = rows.first()
        for place in _by_domain(rows.domain):
            pair = (rows.user[place].astype(np.uint64) << np.uint64(32)) | rows.item[place]
            distinct = place[np.unique(pair, return_index=True)[1]]
            self.pairs += len(distinct)
            np.add.at(self.free, rows.number[distinct[~first[distinct]]], 1)

    def cuts(self, shares: Sequence[float]) -> list[int] | None:
        """Where the line is cut, ascending, one cut a share.

        Args:
            shares: Of the distinct pairs, one for each part; 0 leaves a part empty.

        Returns:
            First number of each part; None when a part with a share would be empty.
        """
        held = np.cumsum(self.free[::-1])[::-1]  # free pairs at a number or above
        cuts = [NUMBERS] * len(shares)
        end, taken = NUMBERS, 0
        for code in range(len(shares) - 1, -1, -1):
            if shares[code]:
                if held[0] <= taken:
                    return None
                wanted = min(taken + max(1, round(shares[code] * self.pairs)), int(held[0]))
                end = int(np.flatnonzero(held >= wanted)[-1])
                taken = int(held[end])
            cuts[code] = end
        return cuts


def can_draw(frame: pl.DataFrame) -> bool:
    """Whether any user has two different items in a domain, so that one can be held out.

    Args:
        frame: Canonical logs.
    """
    pairs = frame.select("user_id", "item_id", "domain").n_unique() if frame.height else 0
    return pairs > frame.select("user_id", "domain").n_unique()


def draw_cuts(frame: pl.DataFrame, shares: Sequence[float], seed: int) -> list[int] | None:
    """`Tally.cuts` of canonical logs."""
    tally = Tally()
    tally.add(Pairs.of_frame(frame, seed))
    return tally.cuts(shares)


def draw_parts(frame: pl.DataFrame, cuts: Sequence[int], seed: int) -> Array:
    """`Pairs.parts` of canonical logs: int64 (n,)."""
    return Pairs.of_frame(frame, seed).parts(cuts)


def _by_domain(domain: Array) -> list[Array]:
    """The rows of each domain, as places in ascending order."""
    order = np.argsort(domain, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(domain[order])) + 1)


def codes(column: pl.Series) -> tuple[Array, pl.Series]:
    """Each value's place among the sorted distinct values, uint32 (n,), and those values."""
    names = column.unique().sort()
    return column.cast(pl.Enum(names)).to_physical().cast(pl.UInt32).to_numpy(), names
