"""What is drawn has the frequencies that the law says, whichever way it is drawn."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from lorarec.data.made import sampling
from lorarec.data.made.calendar import log_mass
from lorarec.data.made.law import DomainLaw
from lorarec.data.made.sampling import draw

Array = np.ndarray[Any, Any]

PATHS = {"proposals": 0, "the whole catalogue": 10**9}
USERS = 40_000


@pytest.fixture(params=PATHS.values(), ids=list(PATHS))
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws one way only."""
    monkeypatch.setattr(sampling, "_WORTH", request.param)


def small_law() -> DomainLaw:
    """Six items of four kinds, one of them empty; two items are late, two kinds drift."""
    rng = np.random.default_rng(0)
    return DomainLaw(
        vectors=1.2 * rng.standard_normal((4, 16)),
        trend=np.array([2.0, 0.0, 0.7, -3.0]),
        kind=np.array([0, 0, 1, 3, 3, 3]),
        weight=np.array([1.0, 0.5, 2.0, 0.3, 1.5, 1.0]),
        begin=np.array([0.0, 0.6, 0.0, 0.5, 0.0, 0.0]),
    )


def odds(law: DomainLaw, user: Array, begin: float) -> Array:
    """Each item's odds, summed over the user's time there."""
    late = np.maximum(begin, law.begin)
    logs = law.vectors[law.kind] @ user + np.log(law.weight) + log_mass(law.trend[law.kind], late)
    weights = np.exp(logs)
    return np.asarray(weights / weights.sum())


def drawn(amount: int, begin: float = 0.2) -> tuple[DomainLaw, Array, sampling.Draws]:
    law = small_law()
    user = np.random.default_rng(1).standard_normal(16) / 4
    users, starts = np.tile(user, (USERS, 1)), np.full(USERS, begin)
    return law, user, draw(law, users, starts, np.full(USERS, amount), 0, 0)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("begin", [0.0, 0.2, 0.7])
def test_items_come_at_their_odds(begin: float) -> None:
    law, user, rows = drawn(1, begin)
    found = np.bincount(rows.item, minlength=law.size) / USERS
    assert np.abs(found - odds(law, user, begin)).max() < 0.01


@pytest.mark.usefixtures("path")
def test_pairs_of_items_come_as_without_replacement() -> None:
    law, user, rows = drawn(2)
    p = odds(law, user, 0.2)
    expected = np.zeros((law.size, law.size))
    for a, b in permutations(range(law.size), 2):
        expected[min(a, b), max(a, b)] += p[a] * p[b] / (1 - p[a])
    pairs = rows.item.reshape(USERS, 2)
    found = np.zeros_like(expected)
    np.add.at(found, (pairs[:, 0], pairs[:, 1]), 1 / USERS)
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.usefixtures("path")
def test_moments_have_the_drift_of_the_item() -> None:
    law, _, rows = drawn(1)
    for item in range(law.size):
        moments = rows.moment[rows.item == item]
        begin, trend = max(0.2, law.begin[item]), law.trend[law.kind[item]]
        grid = begin + (1 - begin) * (np.arange(2000) + 0.5) / 2000
        mean = np.average(grid, weights=np.exp(trend * grid))
        assert moments.min() >= begin
        assert moments.max() < 1
        assert abs(moments.mean() - mean) < 4 * 0.3 / np.sqrt(len(moments))


@pytest.mark.usefixtures("path")
def test_no_item_comes_twice_even_when_all_are_wanted() -> None:
    law = small_law()
    rows = draw(law, np.zeros((50, 16)), np.zeros(50), np.full(50, law.size), 0, 0)
    assert np.array_equal(rows.item, np.tile(np.arange(law.size), 50))
    assert np.array_equal(rows.user, np.repeat(np.arange(50), law.size))


def test_amounts_are_exact_and_may_be_zero() -> None:
    law, amounts = small_law(), np.array([0, 3, 0, 6, 1])
    rows = draw(law, np.zeros((5, 16)), np.zeros(5), amounts, 0, 0)
    assert np.array_equal(np.bincount(rows.user, minlength=5), amounts)


def test_nothing_wanted_is_nothing_drawn() -> None:
    rows = draw(small_law(), np.zeros((2, 16)), np.zeros(2), np.zeros(2, dtype=int), 0, 0)
    assert len(rows.user) == 0


def test_domains_have_draws_of_their_own() -> None:
    law, amounts = small_law(), np.full(50, 2)
    first, second = (
        draw(law, np.zeros((50, 16)), np.zeros(50), amounts, 0, domain) for domain in (0, 1)
    )
    assert not np.array_equal(first.item, second.item)


def test_bisection_counts_what_is_at_most_the_level() -> None:
    tables = np.array([[0.0, 0.0, 1.0, 3.0, 3.0], [1.0, 2.0, 2.0, 4.0, 8.0]])
    rng = np.random.default_rng(0)
    line = rng.integers(2, size=500)
    level = rng.uniform(0, 1, 500) * tables[line, -1]
    expected = [
        np.searchsorted(tables[a], b, side="right") for a, b in zip(line, level, strict=True)
    ]
    assert sampling._bisect(tables.ravel(), line * 5, level, 5).tolist() == expected
