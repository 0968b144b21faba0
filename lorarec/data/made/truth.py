"""A made world: logs, and the truth that they were drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.made.law import DomainLaw
from lorarec.data.made.membership import Membership
from lorarec.data.made.taste import Taste, shifted
from lorarec.errors import NotFoundError, did_you_mean

Array = np.ndarray[Any, Any]

SHARPNESS = 12.0  # log-odds between the same and an unrelated taste
DRIFT = 1.5  # log-odds that the drift adds over the window to a kind in its direction


@dataclass(frozen=True, eq=False)
class World:
    """Logs, and the truth they were drawn from. Row 7 of users is the user `u00007`."""

    logs: pl.DataFrame
    """Canonical logs (`schema.SCHEMA`), by time; no (user, item, domain) repeats."""
    domains: tuple[str, ...]
    """Names, largest first."""
    taste: Taste
    """Vectors, topics and kinds, and the direction of the drift."""
    members: Membership
    """Users and items of each domain."""
    shift_left: Array
    """float64 (domains, 16, rank): A. A domain sees q as q (I + A_d B_d^T), scaled to length 1."""
    shift_right: Array
    """float64 (domains, 16, rank): B."""
    popularity: Array
    """float64 (domains, items): log popularity."""
    user_first_day: Array
    """int64 (users,): the day of the window before which a user has no row."""
    item_first_day: Array
    """int64 (items,): the same for items."""
    seed: int
    """All of it follows from the seed and the sizes."""
    start: int
    """Seconds since 1970 at which the window begins."""
    days: int
    """Length of the window; the moment 1 is its end."""

    @property
    def rank(self) -> int:
        """Of every domain's shift."""
        return int(self.shift_left.shape[2])

    @property
    def user_factors(self) -> Array:
        """float64 (users, 16): p, the same in every domain."""
        return self.taste.users

    @property
    def item_factors(self) -> Array:
        """float64 (items, 16): q before any shift; items of a kind have the same."""
        return np.asarray(self.taste.kinds[self.taste.item_kind])

    @property
    def shifts(self) -> Array:
        """float64 (domains, 16, 16): A_d B_d^T."""
        return self.shift_left @ self.shift_right.transpose(0, 2, 1)

    @property
    def user_in(self) -> Array:
        """bool (domains, users): who is in a domain."""
        return self.members.user_in

    @property
    def item_in(self) -> Array:
        """bool (domains, items): the catalogue of a domain."""
        return self.members.item_in

    def number(self, domain: str) -> int:
        """The place of a domain among the arrays.

        Raises:
            NotFoundError: There is none of that name.
        """
        if domain not in self.domains:
            raise NotFoundError(
                f"The world has no domain {domain!r}.{did_you_mean(domain, self.domains)}"
            )
        return self.domains.index(domain)

    def law(self, domain: str) -> tuple[DomainLaw, Array]:
        """What a domain's rows are drawn from.

        Returns:
            The law, and int64 (catalogue,): the item at each place of its catalogue.

        Raises:
            NotFoundError: There is no such domain.
        """
        d = self.number(domain)
        items = np.flatnonzero(self.item_in[d])
        items = items[np.argsort(self.taste.item_kind[items], kind="stable")]
        law = DomainLaw(
            vectors=SHARPNESS * shifted(self.taste.kinds, self.shift_left[d], self.shift_right[d]),
            trend=DRIFT * (self.taste.kinds @ self.taste.drift),
            kind=self.taste.item_kind[items],
            weight=np.exp(self.popularity[d][items]),
            begin=self.item_first_day[items] / self.days,
        )
        return law, items

    def scores(self, domain: str, day: float | None = None) -> Array:
        """True log-odds of a domain, for worlds small enough.

        Args:
            domain: Its name.
            day: Day of the window, from 0 to `days`; None is its end, when every item is there.

        Returns:
            float64 (users, items), -inf outside the catalogue of that day.

        Raises:
            NotFoundError: There is no such domain.
        """
        law, items = self.law(domain)
        moment = 1.0 if day is None else day / self.days
        odds = self.taste.users @ law.vectors[law.kind].T
        odds += np.log(law.weight) + law.trend[law.kind] * moment
        table = np.full((len(odds), len(self.taste.item_kind)), -np.inf)
        table[:, items] = np.where(law.begin <= moment, odds, -np.inf)
        return table

    def with_logs(self, logs: pl.DataFrame) -> World:
        """The same truth beside other logs."""
        return replace(self, logs=logs)
