"""A seeded many-domain world with a known answer.

A user's taste is one vector p (dim 16) in every domain. An item's vector q is shared too, but a
domain d sees it through a low-rank shift, q (I + A_d B_d^T): what a low-rank adapter can learn and
a single base cannot. The log-odds that user u takes item i in domain d are

    sharpness * cos(p_u, q_i (I + A_d B_d^T)) + log popularity_d(i)

and each user's items are drawn from them without replacement (the Gumbel top-k trick; Kool et al.,
"Stochastic Beams and Where to Find Them", 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.schema import SCHEMA
from lorarec.errors import ConfigError

Array = np.ndarray[Any, Any]

DIM = 16
SHIFT_RANK = 4
SHIFT = 0.8  # scale of a domain's shift against the shared vectors
SHARPNESS = 12.0  # log-odds between the same and an unrelated taste
SLOPE = 0.7  # of log popularity against log rank
GROUPS = 24  # common tastes
SPREAD = 0.5  # of users and items around them
YEAR_START = 1_735_689_600  # 2025-01-01 00:00:00 UTC
YEAR_SECONDS = 365 * 86_400
_BLOCK = 4_000_000  # scores held at once
_FEWEST = 5  # interactions that a user has in a domain, where the size allows


@dataclass(frozen=True, eq=False)
class World:
    """Logs, and the truth they were drawn from."""

    logs: pl.DataFrame
    """Canonical logs (`schema.SCHEMA`), by time; no (user, item, domain) repeats."""
    domains: tuple[str, ...]
    """Names, largest first."""
    user_factors: Array
    """float64 (users, 16): p, the same in every domain. Row 7 is the user `u00007`."""
    item_factors: Array
    """float64 (items, 16): q before any shift."""
    shifts: Array
    """float64 (domains, 16, 16): A_d B_d^T, of rank 4."""
    popularity: Array
    """float64 (domains, items): log popularity."""
    user_in: Array
    """bool (domains, users): who is in a domain."""
    item_in: Array
    """bool (domains, items): the catalogue of a domain."""

    def scores(self, domain: str) -> Array:
        """True log-odds of a domain: float64 (users, items), -inf outside its catalogue."""
        d = self.domains.index(domain)
        logits = _logits(self.user_factors, self.item_factors, self.shifts[d], self.popularity[d])
        return np.where(self.item_in[d], logits, -np.inf)


def make_logs(
    domains: Sequence[str] = ("books", "movies", "music", "games"),
    users: int = 2000,
    items: int = 1200,
    interactions: int = 60_000,
    seed: int = 0,
) -> pl.DataFrame:
    """`make_world`, the logs alone."""
    return make_world(domains, users, items, interactions, seed).logs


def make_world(
    domains: Sequence[str] = ("books", "movies", "music", "games"),
    users: int = 2000,
    items: int = 1200,
    interactions: int = 60_000,
    seed: int = 0,
) -> World:
    """Make a world of several domains that share part of their users and items.

    Args:
        domains: Distinct names; each is smaller than the one before.
        users: Users over all domains.
        items: Items over all domains.
        interactions: Rows over all domains; fewer come out only when the catalogues are too small.
        seed: The same arguments and seed give the same world.

    Returns:
        The logs and the truth behind them.

    Raises:
        ConfigError: There are no domains, a name is empty or repeats, or a size is too small.
    """
    _check_sizes(domains, users, items, interactions)
    rng = np.random.default_rng(seed)
    user_in, item_in = _memberships(rng, len(domains), users, items, interactions)
    centres = rng.standard_normal((GROUPS, DIM))
    user_factors = _unit(_clustered(rng, centres, users))
    item_factors = _unit(_clustered(rng, centres, items))
    shifts = _shifts(rng, len(domains))
    popularity = _popularity(rng, len(domains), items)
    amounts = _amounts(rng, user_in, item_in, interactions)
    pairs = []
    for d in range(len(domains)):
        in_domain = np.flatnonzero(item_in[d])
        active = np.flatnonzero(amounts[d])
        factors = item_factors[in_domain]
        places, chosen = _choose(
            rng, user_factors[active], factors, shifts[d], popularity[d][in_domain],
            amounts[d][active],
        )  # fmt: skip
        pairs.append((active[places], in_domain[chosen], np.full(len(places), d)))
    user, item, domain = (np.concatenate(column) for column in zip(*pairs, strict=True))
    seconds = _moments(rng, user, item, users, items)
    logs = _frame(user, item, domain, seconds, domains, users, items)
    return World(
        logs, tuple(domains), user_factors, item_factors, shifts, popularity, user_in, item_in
    )


def _check_sizes(domains: Sequence[str], users: int, items: int, interactions: int) -> None:
    names = [name.strip() for name in domains]
    if not names or "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"Found the domains {', '.join(map(repr, domains)) or 'none'}. Expected one or more "
            f"different names, such as --domains books,movies,music,games."
        )
    smallest = 2 * len(names)
    for option, value in (("users", users), ("items", items), ("interactions", interactions)):
        if value < smallest:
            raise ConfigError(
                f"--{option} is {value}. Expected at least {smallest} for {len(names)} domains."
            )


def _sizes(domains: int) -> Array:
    """Shares of the domains, falling from 1 to a third."""
    sizes = np.geomspace(1.0, 1.0 / 3.0, domains) if domains > 1 else np.ones(1)
    return np.asarray(sizes / sizes.sum())


def _memberships(
    rng: np.random.Generator, domains: int, users: int, items: int, interactions: int
) -> tuple[Array, Array]:
    """Which users and items are in which domain; each has a home, most items more than one."""
    size = _sizes(domains) * domains
    # Few interactions cannot fill many memberships with `_FEWEST` each.
    affordable = interactions / (2.0 * _FEWEST * users)
    extra = float(np.clip((affordable - 1.0) / max(1, domains - 1), 0.0, 0.4))
    user_in = rng.random((domains, users)) < extra * size[:, None]
    item_in = rng.random((domains, items)) < 0.5 * size[:, None]
    for inside, count in ((user_in, users), (item_in, items)):
        home = rng.choice(domains, size=count, p=_sizes(domains))
        home[:domains] = np.arange(domains)
        inside[home, np.arange(count)] = True
    return user_in, item_in


def _clustered(rng: np.random.Generator, centres: Array, count: int) -> Array:
    """Vectors around the centres: (count, 16)."""
    place = rng.integers(len(centres), size=count)
    return np.asarray(centres[place] + SPREAD * rng.standard_normal((count, DIM)))


def _unit(vectors: Array) -> Array:
    """Rows scaled to length 1."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / norm)


def _shifts(rng: np.random.Generator, domains: int) -> Array:
    left = rng.standard_normal((domains, DIM, SHIFT_RANK)) / np.sqrt(SHIFT_RANK)
    right = rng.standard_normal((domains, DIM, SHIFT_RANK))
    return np.asarray(SHIFT * left @ right.transpose(0, 2, 1))


def _popularity(rng: np.random.Generator, domains: int, items: int) -> Array:
    """Log popularity: a power law in a rank that is half common and half the domain's own."""
    common = rng.standard_normal(items)
    own = rng.standard_normal((domains, items))
    rank = np.argsort(np.argsort(-(common + own), axis=1), axis=1)
    return np.asarray(-SLOPE * np.log(rank + 10.0))


def _amounts(rng: np.random.Generator, user_in: Array, item_in: Array, total: int) -> Array:
    """int64 (domains, users): interactions of each user in each domain, summing to `total`."""
    domains = len(user_in)
    appetite: Array = rng.lognormal(0.0, 0.7, size=user_in.shape) * user_in
    appetite *= (_sizes(domains) / np.maximum(appetite.sum(axis=1), 1e-9))[:, None]
    limit = user_in * (item_in.sum(axis=1, keepdims=True) // 2 + 1)
    fewest = np.minimum(user_in * min(_FEWEST, total // max(1, int(user_in.sum()))), limit)
    amounts: Array = np.asarray(fewest, dtype=np.int64)
    # `_memberships` made domain d the home of user d, so no domain is left without a row.
    home = np.arange(domains)
    amounts[home, home] = np.maximum(amounts[home, home], 1)
    # Those who reach their catalogue's limit leave their share to the others, in a few rounds.
    for _ in range(20):
        rest = total - int(amounts.sum())
        open_ = appetite * (amounts < limit)
        if rest <= 0 or open_.sum() == 0:
            break
        wish = np.cumsum(open_.ravel()) / open_.sum() * rest
        whole: Array = np.floor(wish + 1e-9)
        step = np.diff(whole, prepend=0.0).astype(np.int64).reshape(amounts.shape)
        amounts = np.minimum(amounts + step, limit)
    return amounts


def _logits(users: Array, items: Array, shift: Array, popularity: Array) -> Array:
    moved = _unit(items + items @ shift)
    return np.asarray(SHARPNESS * (users @ moved.T) + popularity)


def _choose(
    rng: np.random.Generator,
    users: Array,
    items: Array,
    shift: Array,
    popularity: Array,
    amounts: Array,
) -> tuple[Array, Array]:
    """Places of users and of items, one pair each: `amounts` items a user, without replacement."""
    places, chosen = [], []
    step = max(1, _BLOCK // max(1, len(items)))
    for start in range(0, len(users), step):
        stop = min(start + step, len(users))
        logits = _logits(users[start:stop], items, shift, popularity)
        keys = logits + rng.gumbel(size=logits.shape)
        most = int(amounts[start:stop].max())
        order = np.argsort(-keys, axis=1, kind="stable")[:, :most]
        taken = np.arange(most) < amounts[start:stop, None]
        places.append(np.repeat(np.arange(start, stop), amounts[start:stop]))
        chosen.append(order[taken])
    return np.concatenate(places), np.concatenate(chosen)


def _moments(rng: np.random.Generator, user: Array, item: Array, users: int, items: int) -> Array:
    """int64 seconds in 2025: an item's popularity drifts, and a tenth of users and items are new.

    The time of a pair has the density exp(drift_i t) on [start, 1], drawn by its inverse.
    """
    drift = rng.normal(0.0, 1.0, items)[item]
    late_user = np.where(rng.random(users) < 0.1, rng.random(users), 0.0)[user]
    late_item = np.where(rng.random(items) < 0.1, rng.random(items), 0.0)[item]
    start = np.maximum(late_user, late_item)
    drift = np.where(np.abs(drift) < 1e-3, 1e-3, drift)
    uniform = rng.random(len(user))
    within = np.log1p(uniform * np.expm1(drift)) / drift
    moment = start + (1.0 - start) * within
    return np.asarray(YEAR_START + np.floor(moment * YEAR_SECONDS), dtype=np.int64)


def _frame(
    user: Array,
    item: Array,
    domain: Array,
    seconds: Array,
    domains: Sequence[str],
    users: int,
    items: int,
) -> pl.DataFrame:
    order = np.lexsort((item, user, domain, seconds))
    frame = pl.DataFrame(
        {
            "user_id": _names("u", users).gather(pl.Series(user[order])),
            "item_id": _names("i", items).gather(pl.Series(item[order])),
            "domain": pl.Series(list(domains), dtype=pl.String).gather(pl.Series(domain[order])),
            "timestamp": seconds[order],
        }
    )
    missing = [pl.lit(None, dtype=SCHEMA[name]).alias(name) for name in ("rating", "split")]
    return frame.with_columns(pl.lit(1.0, dtype=pl.Float32).alias("weight"), *missing).select(
        list(SCHEMA)
    )


def _names(prefix: str, count: int) -> pl.Series:
    digits = max(5, len(str(count - 1)))
    numbers = pl.Series(np.arange(count)).cast(pl.String).str.zfill(digits)
    return prefix + numbers
