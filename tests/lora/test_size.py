from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.lora.attach import Touched, attach
from lorarec.lora.config import full_config, lora_config
from lorarec.lora.size import (
    adapter_size,
    factor_counts,
    largest_saving_rank,
    oversized,
    without_excess,
)
from lorarec.models.matrix_factorization import MatrixFactorization


def base_of(dim: int) -> MatrixFactorization:
    return MatrixFactorization.create(2, 2, dim, "cosine", 0.1, seed=0)


@given(rows=st.integers(0, 10_000), dim=st.integers(1, 512))
def test_the_largest_saving_rank_saves_and_the_next_does_not(rows: int, dim: int) -> None:
    best = largest_saving_rank(rows, dim)
    factors, values = factor_counts(rows, dim, best + 1)
    assert 0 <= best <= dim
    assert factors >= values
    if best:
        factors, values = factor_counts(rows, dim, best)
        assert factors < values


def test_factors_are_counted_as_two_matrices() -> None:
    assert factor_counts(rows=100, dim=64, rank=8) == (100 * 8 + 8 * 64, 100 * 64)


def test_a_lora_adapter_is_counted_by_hand(
    base_maker: Callable[..., Any], touched: Touched
) -> None:
    size = adapter_size(attach(base_maker().model, lora_config(2, 4), touched), 3, 4)
    rows = (3 * 2 + 2 * 4) + (4 * 2 + 2 * 4)
    transform, bias, grown = 2 * 4 * 2, 7, (2 + 3) * 4
    assert size.factors == rows + transform + bias
    assert size.grown == grown
    assert size.full == (3 + 4) * 4 + bias + grown
    assert size.parameters == size.factors + grown
    assert size.optimizer_bytes == size.parameters * 8


def test_full_fine_tuning_is_its_own_measure(
    base_maker: Callable[..., Any], touched: Touched
) -> None:
    size = adapter_size(attach(base_maker().model, full_config(), touched), 3, 4)
    assert size.parameters == size.full
    assert size.share_of_full == 1.0


def test_a_table_that_is_no_target_is_still_full_fine_tuning_s(
    base_maker: Callable[..., Any], touched: Touched
) -> None:
    size = adapter_size(attach(base_maker().model, lora_config(2, 4, "bias"), touched), 3, 4)
    assert size.factors == 7
    assert size.full == (3 + 4) * 4 + 7 + 20


def test_factors_that_outnumber_their_rows_are_told_with_both_counts_and_the_best_rank() -> None:
    (sentence,) = oversized(lora_config(4, 8, "users"), base_of(8), {"users": 6, "items": 0})
    assert "Rank 4 on users trains 56 numbers" in sentence
    assert "6 touched rows have 48" in sentence
    assert "largest rank that saves is 3" in sentence


def test_equal_counts_are_oversized_too() -> None:
    assert factor_counts(8, 8, 4) == (64, 64)
    assert len(oversized(lora_config(4, 8, "users"), base_of(8), {"users": 8})) == 1


def test_a_rank_that_saves_is_not_warned_of() -> None:
    assert oversized(lora_config(3, 8, "users"), base_of(8), {"users": 8}) == []


@pytest.mark.parametrize("kind", ["no rows", "full", "bias"])
def test_what_has_no_factors_is_not_warned_of(kind: str) -> None:
    config = (
        full_config() if kind == "full" else lora_config(8, 8, "bias" if kind == "bias" else None)
    )
    rows = 0 if kind == "no rows" else 8
    assert oversized(config, base_of(8), {"users": rows, "items": rows}) == []


def test_what_factors_would_not_save_has_values_of_its_own() -> None:
    config = lora_config(4, 8, "users,items,bias")
    found = without_excess(config, base_of(8), {"users": 6, "items": 100})
    assert (found.ranks, found.whole) == ({"items": 4}, ("users",))
    assert found.describe() == "users:full,items:4,bias"
    assert lora_config(4, 8, found.describe()) == found
    assert without_excess(found, base_of(8), {"users": 6, "items": 100}) is found


def test_one_touched_row_saves_at_no_rank() -> None:
    (sentence,) = oversized(lora_config(1, 4, "users"), base_of(4), {"users": 1})
    assert "no rank saves" in sentence
