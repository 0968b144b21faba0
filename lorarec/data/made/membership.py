"""Who is in which domain, and how many interactions each user has there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lorarec.data.made.streams import stream

Array = np.ndarray[Any, Any]

PRIVATE = 0.2  # of users and of items: in their home domain only
SHARED_ITEMS = 0.6  # chance of any other item to be in a domain of mean size
SHARED_USERS = 0.5  # the same for users, where the interactions suffice
APPETITE = 0.7  # standard deviation of the log of a user's rows a day in a domain
_FEWEST = 5  # interactions that a user has in a domain, where the size allows
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Membership:
    """Users and items of each domain."""

    user_in: Array
    """bool (domains, users)."""
    item_in: Array
    """bool (domains, items): the catalogues."""


def make_membership(
    seed: int, domains: int, users: int, items: int, interactions: int
) -> Membership:
    """Place users and items. Each has a home; a share is private, the others may be elsewhere too.

    Args:
        seed: The world's.
        domains: Their number; the first is the largest.
        users: Their number.
        items: Their number.
        interactions: Wanted in all. Few cannot fill many memberships with five each, so that fewer
            users are shared then.
    """
    rng = stream(seed, "membership")
    affordable = interactions / (2.0 * _FEWEST * users)
    others = (affordable - 1.0) / max(1, domains - 1) / (1.0 - PRIVATE)
    return Membership(
        _placed(rng, domains, users, float(np.clip(others, 0.0, SHARED_USERS))),
        _placed(rng, domains, items, SHARED_ITEMS),
    )


def shares(domains: int) -> Array:
    """Shares of the domains, falling from the first to a third of it: float64, sum 1."""
    sizes = np.geomspace(1.0, 1.0 / 3.0, domains) if domains > 1 else np.ones(1)
    return np.asarray(sizes / sizes.sum())


def _placed(rng: np.random.Generator, domains: int, count: int, chance: float) -> Array:
    size = shares(domains)
    home = rng.choice(domains, size=count, p=size)
    home[:domains] = np.arange(domains)  # no domain is empty
    shared = rng.random(count) >= PRIVATE
    inside = np.empty((domains, count), dtype=bool)
    for d in range(domains):
        inside[d] = shared & (rng.random(count) < chance * size[d] * domains)
    inside[home, np.arange(count)] = True
    return inside


def make_amounts(seed: int, members: Membership, there: Array, total: int) -> list[Array]:
    """How many interactions each member has, summing to `total` where the catalogues allow.

    A user's amount in a domain is proportional to a lognormal appetite and to how long the user is
    there, at least five where the total allows, and at most half of the catalogue. Those who reach
    that limit leave their share to the others.

    Args:
        seed: The world's.
        members: Users and items of each domain.
        there: float64 (users,): share of the window that a user is there.
        total: Wanted in all.

    Returns:
        For each domain int64 (its users,), in the order of their rows.
    """
    domain, user = np.nonzero(members.user_in)
    size = shares(len(members.user_in))
    appetite = stream(seed, "amounts").lognormal(0.0, APPETITE, len(user)) * there[user]
    appetite *= (size / np.bincount(domain, appetite, len(size)))[domain]
    limit = (members.item_in.sum(axis=1) // 2 + 1)[domain]
    amounts = np.minimum(min(_FEWEST, total // len(user)), limit)
    # `_placed` made domain d the home of user d, so no domain is left without a row.
    lead = np.searchsorted(domain * members.user_in.shape[1] + user, _homes(members))
    amounts[lead] = np.maximum(amounts[lead], 1)
    for _ in range(_ROUNDS):
        rest = total - int(amounts.sum())
        open_ = appetite * (amounts < limit)
        if rest <= 0 or not open_.any():
            break
        wish = np.cumsum(open_)
        whole = np.floor(wish * (rest / wish[-1]) + 1e-9)
        amounts = np.minimum(amounts + np.diff(whole, prepend=0.0).astype(np.int64), limit)
    return np.split(amounts, np.cumsum(members.user_in.sum(axis=1))[:-1])


def _homes(members: Membership) -> Array:
    """Places of user d in domain d among all (domain, user) pairs, flattened."""
    domains, users = members.user_in.shape
    return np.asarray(np.arange(domains) * (users + 1))
