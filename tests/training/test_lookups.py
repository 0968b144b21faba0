from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lorarec.training.lookups import Ends, distinct

WEIGHTS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200)


@given(WEIGHTS, st.integers(1, 4), st.integers(0, 2**31))
def test_ends_are_found_as_a_search_of_the_whole_finds_them(
    weights: list[float], span: int, seed: int
) -> None:
    values = torch.tensor(weights, dtype=torch.float64)
    once = values.cumsum(0) / values.sum()
    ends = torch.cat([once + k for k in range(span)])
    drawn = torch.rand(500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    numbers = torch.cat([drawn * span, ends.clamp(max=span), torch.tensor([0.0, float(span)])])
    found = Ends(ends, span)(numbers)
    assert torch.equal(found, torch.searchsorted(ends, numbers))
    assert found.dtype == torch.int64


def test_many_equal_ends_need_few_halvings() -> None:
    ends = torch.arange(1, 5001, dtype=torch.float64) / 5000
    assert Ends(ends)._rounds <= 2


@given(st.lists(st.integers(0, 2**40 - 1), max_size=300))
def test_distinct_numbers_are_those_of_unique(numbers: list[int]) -> None:
    asked = torch.tensor(numbers + numbers[::2], dtype=torch.int64)
    values, inverse = distinct(asked, 2**40)
    expected = torch.unique(asked, return_inverse=True)
    assert torch.equal(values, expected[0])
    assert torch.equal(inverse, expected[1])


def test_numbers_too_large_to_be_packed_are_found_too() -> None:
    asked = torch.tensor([2**61, 3, 2**61, 5])
    assert distinct(asked, 2**62)[1].tolist() == [2, 0, 2, 1]
