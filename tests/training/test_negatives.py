from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorarec.training.negatives import CatalogueSampler, KnownPairs

ITEMS = torch.tensor([2, 3, 11, 40])
COUNTS = torch.tensor([1, 10, 4, 25])


def draws(sampler: CatalogueSampler, count: int = 40_000, seed: int = 0) -> torch.Tensor:
    return sampler.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_draws_follow_popularity_to_the_power(power: float) -> None:
    expected = COUNTS.double() ** power
    expected /= expected.sum()
    found = torch.bincount(draws(CatalogueSampler(ITEMS, COUNTS, power)), minlength=4) / 40_000
    torch.testing.assert_close(found.double(), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_log_probabilities_are_those_of_the_draws(power: float) -> None:
    expected = COUNTS.double() ** power
    found = CatalogueSampler(ITEMS, COUNTS, power).log_probability
    torch.testing.assert_close(found.double(), (expected / expected.sum()).log())


def test_draws_never_leave_the_catalogue() -> None:
    sampler = CatalogueSampler(torch.arange(1000), torch.ones(1000))
    found = draws(sampler, 200_000)
    assert int(found.min()) >= 0
    assert int(found.max()) < 1000
    assert len(found.unique()) == 1000


def test_a_uniform_number_of_almost_one_is_the_last_item(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = CatalogueSampler(torch.arange(7), torch.full((7,), 0.1))
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.full((n,), 1.0, dtype=torch.float64))
    assert sampler.draw(2, torch.Generator()).tolist() == [6, 6]


def test_the_same_seed_draws_the_same() -> None:
    sampler = CatalogueSampler(ITEMS, COUNTS)
    assert torch.equal(draws(sampler, 50, 3), draws(sampler, 50, 3))
    assert not torch.equal(draws(sampler, 50, 3), draws(sampler, 50, 4))


def test_places_turn_items_into_their_place_in_the_catalogue() -> None:
    assert CatalogueSampler(ITEMS, COUNTS).places(torch.tensor([40, 2, 11])).tolist() == [3, 0, 2]


def test_its_length_is_the_catalogue_s() -> None:
    assert len(CatalogueSampler(ITEMS, COUNTS)) == 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=30))
def test_known_pairs_are_those_of_the_train_rows(pairs: list[tuple[int, int]]) -> None:
    users, places = torch.tensor(pairs).T
    known, columns = KnownPairs(users, places, 8), torch.tensor([0, 2, 3, 7])
    asked = torch.arange(6)
    expected = torch.tensor([[(u, c) in pairs for c in columns.tolist()] for u in range(6)])
    assert torch.equal(known.table(asked, columns), expected)
    assert torch.equal(known.has(asked, columns.expand(6, 4)), expected)


def test_a_uniform_sampler_draws_as_its_probabilities_say() -> None:
    sampler = CatalogueSampler(ITEMS, COUNTS, 0.0)
    share = torch.bincount(draws(sampler), minlength=4) / 40_000
    torch.testing.assert_close(share, sampler.log_probability.exp(), atol=0.01, rtol=0)


def test_an_item_is_in_a_batch_as_often_as_in_the_rows() -> None:
    sampler = CatalogueSampler(ITEMS, COUNTS, 0.0)
    torch.testing.assert_close(sampler.log_popularity.exp(), COUNTS / COUNTS.sum())
