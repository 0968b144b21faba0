"""Ranks that save something, and an adapter at smaller ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_adapters import adapter_of, as_towers, row_deltas

from lorarec.errors import ConfigError
from lorarec.lora.algebra import truncate
from lorarec.lora.attach import restore
from lorarec.lora.narrow import geometric_grid, narrowed, saving_ranks
from lorarec.lora.size import factor_counts
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base


@pytest.fixture(scope="module")
def base(base_maker: Callable[..., Any]) -> Base:
    found: Base = base_maker()
    return found


@pytest.mark.parametrize(
    ("largest", "grid"), [(1, [1]), (2, [1, 2]), (7, [1, 2, 4]), (8, [1, 2, 4, 8])]
)
def test_the_grid_is_geometric_up_to_the_largest(largest: int, grid: list[int]) -> None:
    assert geometric_grid(largest) == grid


def test_saving_ranks_save_and_the_next_does_not(base: Base) -> None:
    model = as_towers(base).model
    found = saving_ranks(model, {"users": 40, "items": 5})
    assert "item_tower.layers.0" in found
    for name, rows in (("users", 40), ("items", 5), ("transform", model.dim)):
        factors, values = factor_counts(rows, model.dim, found[name])
        assert factors < values <= factor_counts(rows, model.dim, found[name] + 1)[0]


def test_tables_without_touched_rows_have_rank_1(base: Base) -> None:
    assert saving_ranks(base.model, {"users": 0, "items": 1})["users"] == 1


@pytest.mark.parametrize("target", ["users", "items", "transform"])
def test_one_target_is_truncated_and_the_others_stay_to_the_bit(base: Base, target: str) -> None:
    state = AdapterState.of(adapter_of(base, {"users": 3, "items": 4, "transform": 3}))
    found, kept = truncate(state, {target: 2})
    assert found.config.ranks == {**state.config.ranks, target: 2}
    assert {name for name, share in kept.items() if share < 1} == {target}
    alone, _ = truncate(state, 2)
    for name in found.tensors:
        there = alone if name.startswith(f"{target}.") else state
        assert torch.equal(found.tensors[name], there.tensors[name]), name


def test_narrowed_it_moves_what_the_truncated_state_says(base: Base) -> None:
    adapter = adapter_of(base, {"users": 3, "items": 4, "transform": 3})
    model, config = narrowed(base.model, AdapterState.of(adapter), {"items": 1})
    assert config.ranks == {"users": 3, "items": 1, "transform": 3}
    u, s, vt = torch.linalg.svd(row_deltas(base, adapter, "items"))
    moved = model.items(torch.arange(8)) - base.model.items(torch.arange(8))
    torch.testing.assert_close(moved.double(), s[0] * u[:, :1] @ vt[:1], rtol=0, atol=1e-4)
    assert torch.equal(
        model.user_vectors(torch.arange(6)), adapter.model.user_vectors(torch.arange(6))
    )


def test_narrowed_to_what_it_is_it_stays_to_the_bit(base: Base) -> None:
    adapter = adapter_of(base, {"users": 3, "items": 2})
    state = AdapterState.of(adapter)
    model, config = narrowed(base.model, state, {"users": 3, "items": 4})
    assert config == state.config
    rows = torch.arange(8)
    assert torch.equal(model.item_vectors(rows), adapter.model.item_vectors(rows))


def test_a_rank_of_one_target_out_of_range_is_refused(base: Base) -> None:
    state = AdapterState.of(adapter_of(base, {"items": 3}))
    with pytest.raises(ConfigError, match="Rank 99"):
        truncate(state, {"items": 99})
    with pytest.raises(ConfigError, match=r"Nothing of .* is above rank items:3"):
        truncate(state, {"items": 3})


def test_targets_that_are_not_named_keep_values_of_their_own(base: Base) -> None:
    adapter = adapter_of(base, {}, kind="full")
    found, kept = truncate(AdapterState.of(adapter), {"items": 2})
    assert (found.config.kind, found.config.whole, found.config.ranks) == (
        "lora",
        ("users",),
        {"items": 2},
    )
    assert 0 < kept["items"] < 1
    model = restore(base.model, found.config, found.tensors)
    assert torch.equal(
        model.user_vectors(torch.arange(6)), adapter.model.user_vectors(torch.arange(6))
    )
