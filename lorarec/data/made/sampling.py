"""Draws from the law of one domain, without repeats, at a cost that follows the interactions.

The law of a user's rows: pairs (item, moment) are drawn one after the other, independently, with
odds as `DomainLaw` says and the moment even over the user's time there; a pair whose item the user
already has is thrown away, until the user has enough. So items are drawn without replacement, one
after the other in proportion to their odds among those left (Plackett-Luce), summed over time.

Two ways draw from that one law. Users begin with the first and end with whichever costs less:

`_propose` draws a kind from an upper bound of the kinds' odds, an item of the kind by popularity
and a moment evenly, each by the inverse of its distribution, and keeps the pair with probability
exp(c t - max(0, c)) if the item is there by then (rejection). Its cost does not depend on the
catalogue.

`_from_all` scores the catalogue and takes the top of odds disturbed by Gumbel noise, which is the
same draw without replacement (Kool et al., "Stochastic Beams and Where to Find Them", 2019), then
a moment given the item. It is for those who want much of a catalogue, where nearly all that is
proposed would repeat.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lorarec.data.made.calendar import log_mass, moments
from lorarec.data.made.law import DomainLaw
from lorarec.data.made.streams import stream

Array = np.ndarray[Any, Any]

_BLOCK = 1_000_000  # odds held at once; the draws do not depend on it
_MORE = 1.7  # proposals for each row that is wanted, at first; then twice as many a round
_WORTH = 16  # items that can be scored at the price of one proposal


class Draws(NamedTuple):
    """Rows drawn in one domain, side by side."""

    user: Array
    """int64: place in the users given."""
    item: Array
    """int64: place in the law's catalogue."""
    moment: Array
    """float64, in [0, 1)."""


def draw(
    law: DomainLaw, users: Array, begin: Array, amounts: Array, seed: int, domain: int
) -> Draws:
    """Draw each user's rows.

    Args:
        law: The domain's.
        users: float64 (n, 16): p.
        begin: float64 (n,): moment in [0, 1) of a user's first day.
        amounts: int64 (n,): rows of each user, none above the size of the catalogue.
        seed: The world's.
        domain: Its number, for streams of its own.

    Returns:
        Rows by user, then item; no (user, item) repeats.
    """
    held = Draws(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    short = np.flatnonzero(amounts)
    missing, done = amounts[short], []
    turn = 0
    while len(short):
        wanted = np.ceil(missing * (_MORE * 2.0**turn)).astype(np.int64)
        cheap = wanted * _WORTH < law.size
        hard = short[~cheap]
        if len(hard):
            own = _rows_of(held, hard, len(users))
            rest = _from_all(law, users, begin, hard, missing[~cheap], own, seed, domain, turn)
            done += [own, rest]
        short, wanted = short[cheap], wanted[cheap]
        if not len(short):
            break
        new = _propose(law, users, begin, short, wanted, seed, domain, turn)
        held = _first_of_each(_joined([_rows_of(held, short, len(users)), new]), law.size, amounts)
        have = np.bincount(held.user, minlength=len(users))[short]
        missing = amounts[short] - have
        done.append(_rows_of(held, short[missing == 0], len(users)))
        short, missing = short[missing > 0], missing[missing > 0]
        turn += 1
    rows = _joined(done) if done else held
    order = np.argsort(rows.user * law.size + rows.item)
    return Draws(*(column[order] for column in rows))


def _propose(
    law: DomainLaw,
    users: Array,
    begin: Array,
    who: Array,
    wanted: Array,
    seed: int,
    domain: int,
    turn: int,
) -> Draws:
    """Independent draws: `wanted` proposals of each user in `who`, those that are kept."""
    user = np.repeat(who, wanted)
    draws = [stream(seed, name, domain, turn).random(len(user)) for name in _PURPOSES]
    kind = _kinds(law, users, who, wanted, draws[0])
    low, high = law.bounds[kind], law.bounds[kind + 1]
    item = np.searchsorted(law.ends, low + draws[1] * (high - low), side="right")
    # Rounding at a kind's very end must not give the next kind's first item.
    item = np.minimum(item, law.places[kind + 1] - 1)
    moment = begin[user] + (1.0 - begin[user]) * draws[2]
    chance = np.exp(law.trend[kind] * moment - law.peak[kind])
    kept = (draws[3] < chance) & (law.begin[item] <= moment) & (moment < 1.0)
    return Draws(user[kept], item[kept], moment[kept])


_PURPOSES = ("kind", "item", "moment", "keep")


def _kinds(law: DomainLaw, users: Array, who: Array, wanted: Array, uniform: Array) -> Array:
    """A kind for each proposal, by bisection in the user's cumulated odds."""
    found = np.empty(len(uniform), dtype=np.int64)
    ends = np.cumsum(wanted)
    kinds = len(law.vectors)
    step = max(1, _BLOCK // kinds)
    for start in range(0, len(who), step):
        stop = min(start + step, len(who))
        odds = np.cumsum(law.kind_odds(users[who[start:stop]]), axis=1)
        rows = slice(ends[start] - wanted[start], ends[stop - 1])
        line = np.repeat(np.arange(stop - start), wanted[start:stop])
        # Below the total, so that a kind without odds at the end is never reached.
        level = uniform[rows] * odds[line, -1]
        found[rows] = _bisect(odds.ravel(), line * kinds, level, kinds)
    return found


def _bisect(table: Array, offset: Array, level: Array, count: int) -> Array:
    """How many of `table[offset : offset + count]`, which rises, are at most `level`."""
    below = np.zeros(len(level), dtype=np.int64)
    step = 1 << (count.bit_length() - 1)
    while step:
        ahead = below + step
        fits = ahead <= count
        value = table[offset + np.minimum(ahead, count) - 1]
        below = np.where(fits & (value <= level), ahead, below)
        step >>= 1
    return np.minimum(below, count - 1)


def _from_all(
    law: DomainLaw,
    users: Array,
    begin: Array,
    who: Array,
    missing: Array,
    held: Draws,
    seed: int,
    domain: int,
    turn: int,
) -> Draws:
    """`missing` more items of each user in `who`, none that is held, over the whole catalogue."""
    noise = stream(seed, "gumbel", domain, turn)
    uniform = stream(seed, "moment of all", domain, turn).random(int(missing.sum()))
    trend, weight = law.trend[law.kind], np.log(law.weight)
    place = np.full(len(users), -1)
    place[who] = np.arange(len(who))
    line = place[held.user]
    by_line = np.argsort(line, kind="stable")
    line, taken = line[by_line], held.item[by_line]
    chosen = []
    step = max(1, _BLOCK // law.size)
    for start in range(0, len(who), step):
        some = who[start : start + step]
        late = np.maximum(begin[some][:, None], law.begin)
        keys = (users[some] @ law.vectors.T)[:, law.kind] + weight + log_mass(trend, late)
        keys += noise.gumbel(size=keys.shape)
        own = slice(*np.searchsorted(line, [start, start + len(some)]))
        keys[line[own] - start, taken[own]] = -np.inf
        amounts = missing[start : start + step]
        chosen.append(_top(keys, amounts))
    user, item = np.repeat(who, missing), np.concatenate(chosen)
    late = np.maximum(begin[user], law.begin[item])
    return Draws(user, item, moments(trend[item], late, uniform))


def _top(keys: Array, amounts: Array) -> Array:
    """Columns of the largest keys, `amounts` a row, rows one after the other."""
    most = int(amounts.max())
    if most < keys.shape[1]:
        best = np.argpartition(-keys, most - 1, axis=1)[:, :most]
    else:
        best = np.tile(np.arange(most), (len(keys), 1))
    order = np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    return np.asarray(best[np.arange(most) < amounts[:, None]])


def _first_of_each(rows: Draws, items: int, amounts: Array) -> Draws:
    """Each user's first `amounts` rows of distinct items, in the order they came."""
    _, first = np.unique(rows.user * items + rows.item, return_index=True)
    first.sort()
    by_user = first[np.argsort(rows.user[first], kind="stable")]
    user = rows.user[by_user]
    nth = np.arange(len(user)) - np.searchsorted(user, user)
    kept = by_user[nth < amounts[user]]
    return Draws(*(column[kept] for column in rows))


def _rows_of(rows: Draws, users: Array, count: int) -> Draws:
    """The rows of some users."""
    wanted = np.zeros(count, dtype=bool)
    wanted[users] = True
    kept = wanted[rows.user]
    return Draws(*(column[kept] for column in rows))


def _joined(parts: list[Draws]) -> Draws:
    return Draws(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
