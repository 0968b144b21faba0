"""A seeded many-domain world with a known answer.

A user's taste is one vector p (dim 16, length 1) in every domain. An item is of one of 240 kinds,
ten to each of 24 topics; its kind's vector q is the same everywhere too, but a domain d sees it
through a low-rank shift, q (I + A_d B_d^T): what a low-rank adapter can learn and a single base
cannot. Time runs from 0 to 1 over a window of days, while everyone's taste drifts in one direction
g. The log-odds that user u takes item i in domain d at the moment t are

    12 cos(p_u, q_i (I + A_d B_d^T)) + log popularity_d(i) + 1.5 t ⟨g, q_i⟩

and -inf before the first day of the user or of the item. log popularity_d(i) = -log(rank + 10), a
power law in a rank that is half common to all domains. Four fifths of users and of items are there
on day 0, the others begin on any later day.

This one law holds at every size, exactly: a user's pairs (item, moment) in a domain are drawn
independently with these odds, moments even over the user's time there, and a pair that repeats an
item is drawn again. How many rows a user has is drawn beforehand. `lorarec.data.made.sampling` says
how that is done in time that follows the number of interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.made.calendar import make_first_days
from lorarec.data.made.features import item_features, user_features
from lorarec.data.made.membership import make_amounts, make_membership
from lorarec.data.made.popularity import make_popularity
from lorarec.data.made.sampling import draw
from lorarec.data.made.table import DAY_SECONDS, logs_of
from lorarec.data.made.taste import DIM, make_shifts, make_taste
from lorarec.data.made.truth import World
from lorarec.data.schema import SCHEMA
from lorarec.errors import ConfigError

__all__ = ["World", "item_features", "make_logs", "make_world", "user_features"]

Array = np.ndarray[Any, Any]

DOMAINS = ("books", "movies", "music", "games")
START = date(2025, 1, 1)
_MOST_DAYS = 36_500
_YEARS = (1970, 4999)  # whose seconds the column contract takes


def make_logs(
    domains: Sequence[str] = DOMAINS,
    users: int = 2000,
    items: int = 1200,
    interactions: int = 60_000,
    seed: int = 0,
    rank: int = 4,
    days: int = 365,
    start: date = START,
) -> pl.DataFrame:
    """`make_world`, the logs alone."""
    return make_world(domains, users, items, interactions, seed, rank, days, start).logs


def make_world(
    domains: Sequence[str] = DOMAINS,
    users: int = 2000,
    items: int = 1200,
    interactions: int = 60_000,
    seed: int = 0,
    rank: int = 4,
    days: int = 365,
    start: date = START,
) -> World:
    """Make a world of several domains that share part of their users and items.

    Args:
        domains: Distinct names; each is smaller than the one before, the last a third of the first.
        users: Users over all domains.
        items: Items over all domains.
        interactions: Rows over all domains; fewer come out only when the catalogues are too small.
        seed: The same arguments and seed give the same world. Another rank, window or number of
            interactions moves no user's taste and no item's kind or popularity.
        rank: Of every domain's shift, 0 to 16; with 0 all domains see the same items.
        days: Length of the window.
        start: Its first day, which begins at midnight UTC.

    Returns:
        The logs and the truth behind them.

    Raises:
        ConfigError: There are no domains, a name is empty or repeats, or a number is out of range.
    """
    _check_domains(domains)
    _check_numbers(len(domains), users, items, interactions, rank, days)
    _check_start(start)
    first_days = [
        make_first_days(seed, name, count, days)
        for name, count in (("users", users), ("items", items))
    ]
    members = make_membership(seed, len(domains), users, items, interactions)
    left, right = make_shifts(seed, len(domains), rank)
    world = World(
        logs=pl.DataFrame(schema=SCHEMA),
        domains=tuple(domains),
        taste=make_taste(seed, users, items),
        members=members,
        shift_left=left,
        shift_right=right,
        popularity=make_popularity(seed, len(domains), items),
        user_first_day=first_days[0],
        item_first_day=first_days[1],
        seed=seed,
        start=int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()),
        days=days,
    )
    return world.with_logs(_logs(world, interactions))


def _logs(world: World, interactions: int) -> pl.DataFrame:
    """Draw every domain's rows."""
    begin = world.user_first_day / world.days
    amounts = make_amounts(world.seed, world.members, 1.0 - begin, interactions)
    parts = []
    for d, name in enumerate(world.domains):
        users = np.flatnonzero(world.user_in[d])
        law, items = world.law(name)
        rows = draw(law, world.taste.users[users], begin[users], amounts[d], world.seed, d)
        user, item = users[rows.user], items[rows.item]
        seconds = _seconds(world, user, item, rows.moment)
        parts.append((user, item, np.full(len(user), d), seconds))
    user, item, domain, seconds = (np.concatenate(column) for column in zip(*parts, strict=True))
    sizes = (len(world.user_first_day), len(world.item_first_day))
    return logs_of(user, item, domain, seconds, world.domains, sizes)


def _seconds(world: World, user: Array, item: Array, moment: Array) -> Array:
    """Moments as int64 seconds since 1970, none before the first day of the user or the item."""
    first = np.maximum(world.user_first_day[user], world.item_first_day[item])
    seconds = np.floor(moment * (world.days * DAY_SECONDS)).astype(np.int64)
    return np.asarray(world.start + np.maximum(seconds, first * DAY_SECONDS))


def _check_domains(domains: Sequence[str]) -> None:
    names = [name.strip() for name in domains]
    if not names or "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"Found the domains {', '.join(map(repr, domains)) or 'none'}. Expected one or more "
            f"different names, such as --domains books,movies,music,games."
        )


def _check_numbers(
    domains: int, users: int, items: int, interactions: int, rank: int, days: int
) -> None:
    smallest = 2 * domains
    for option, value in (("users", users), ("items", items), ("interactions", interactions)):
        if value < smallest:
            raise ConfigError(
                f"--{option} is {value}. Expected at least {smallest} for {domains} domains."
            )
    for option, value, least, most in (("rank", rank, 0, DIM), ("days", days, 1, _MOST_DAYS)):
        if not least <= value <= most:
            raise ConfigError(f"--{option} is {value}. Expected {least} to {most}.")


def _check_start(start: date) -> None:
    if not _YEARS[0] <= start.year <= _YEARS[1]:
        raise ConfigError(
            f"--start is {start:%Y-%m-%d}. Expected a date of the years {_YEARS[0]} to {_YEARS[1]}."
        )
