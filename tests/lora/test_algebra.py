"""Sums and truncation of adapters are exact, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_adapters import (
    DIM,
    IDS,
    ITEMS,
    USERS,
    Build,
    adapter_of,
    adapters,
    as_towers,
    bias_delta,
    row_deltas,
    transform_delta,
)
from torch import Tensor

from lorarec.errors import AdapterMismatchError, ConfigError
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.algebra import truncate, weighted_sum
from lorarec.lora.attach import adapter_state
from lorarec.lora.derived import summed, truncated_to
from lorarec.lora.products import Product, singular_values, truncated
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base
from lorarec.models.base import table_of

TOLERANCE = 1e-5
"""Of float32 factors of size 1, summed in float64 and rounded once."""
several = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


weights = st.floats(-2, 2).filter(lambda weight: abs(weight) > 0.05)


@pytest.fixture(scope="module", params=["mf", "towers"])
def base(base_maker: Callable[..., Any], request: pytest.FixtureRequest) -> Base:
    found: Base = base_maker()
    return found if request.param == "mf" else as_towers(found)


def assert_close(found: Tensor, expected: Tensor) -> None:
    size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    assert torch.allclose(found, expected, atol=TOLERANCE * size, rtol=0), found - expected


@several
@given(build=adapters())
def test_the_sum_of_one_with_weight_1_is_the_same_to_the_bit(base: Base, build: Build) -> None:
    adapter = build(base)
    found = summed(base, [adapter], [1.0])
    assert found.info.digest == adapter.info.digest
    assert found.info.config.ranks == adapter.info.config.ranks


@several
@given(parts=st.lists(st.tuples(adapters(), weights), min_size=1, max_size=3))
def test_deltas_of_the_sum_are_the_weighted_sum_of_deltas(
    base: Base, parts: list[tuple[Build, float]]
) -> None:
    each = [(build(base), weight) for build, weight in parts]
    found = summed(base, [a for a, _ in each], [w for _, w in each])
    for name in ("users", "items"):
        expected = sum(w * row_deltas(base, a, name) for a, w in each)
        assert_close(row_deltas(base, found, name), expected)  # type: ignore[arg-type]
    assert_close(transform_delta(base, found), sum(w * transform_delta(base, a) for a, w in each))  # type: ignore[arg-type]


@several
@given(parts=st.lists(st.tuples(adapters(), weights), min_size=1, max_size=3))
def test_biases_add_up_for_every_item_also_those_without_one(
    base: Base, parts: list[tuple[Build, float]]
) -> None:
    each = [(build(base), weight) for build, weight in parts]
    found = summed(base, [a for a, _ in each], [w for _, w in each])
    ids = list(base.items.ids)
    expected = sum(w * bias_delta(base, a, ids) for a, w in each)
    assert_close(bias_delta(base, found, ids), expected)  # type: ignore[arg-type]
    for place, text in enumerate(found.items.ids[ITEMS:]):
        values = [w * own_or_cold(a, text) for a, w in each]
        row = torch.tensor([ITEMS + place])
        assert_close(found.model.bias(row).double(), torch.tensor([sum(values)]).double())  # type: ignore[misc]


def own_or_cold(adapter: Adapter, text: str) -> float:
    """A grown item's β in an adapter, its constant where it does not know the item."""
    row = int(adapter.items.rows([text], missing="mark")[0])
    rows, b, cold = (adapter_state(adapter.model)[f"bias.{part}"] for part in ("rows", "b", "cold"))
    if not len(rows):
        return 0.0
    return float(b[rows == row][0, 0]) if row in rows else float(cold)


@several
@given(first=adapters(), second=adapters(), w=st.tuples(weights, weights))
def test_the_order_of_a_sum_changes_nothing_but_rounding(
    base: Base, first: Build, second: Build, w: tuple[float, float]
) -> None:
    a, b = first(base), second(base)
    one, other = summed(base, [a, b], w), summed(base, [b, a], w[::-1])
    for name in ("users", "items"):
        assert_close(row_deltas(base, one, name), row_deltas(base, other, name))
        ids = list(getattr(one, name).ids)
        assert set(ids) == set(getattr(other, name).ids)
        mine, theirs = (torch.from_numpy(getattr(x, name).rows(ids)) for x in (one, other))
        vectors = (getattr(x.model, name)(r) for x, r in ((one, mine), (other, theirs)))
        assert_close(*vectors)
    assert_close(transform_delta(base, one), transform_delta(base, other))
    ids = list(one.items.ids)
    assert_close(bias_delta(base, one, ids), bias_delta(base, other, ids))


@several
@given(parts=st.lists(st.tuples(adapters(), weights), min_size=1, max_size=3))
def test_grown_vectors_are_the_mean_of_those_who_grew_them(
    base: Base, parts: list[tuple[Build, float]]
) -> None:
    each = [(build(base), weight) for build, weight in parts]
    found = summed(base, [a for a, _ in each], [w for _, w in each])
    grown = {text for a, _ in each for text in a.users.ids[USERS:]}
    assert set(found.users.ids[USERS:]) == grown
    for text in grown:
        own = [
            (abs(w), a.model.users(torch.from_numpy(a.users.rows([text]))))
            for a, w in each
            if text in set(a.users.ids)
        ]
        mean = sum(w * vector for w, vector in own) / sum(w for w, _ in own)
        row = torch.from_numpy(found.users.rows([text]))
        assert_close(found.model.users(row).double(), mean.double())
        if len(own) == 1:
            assert torch.equal(found.model.users(row), own[0][1])


@several
@given(parts=st.lists(st.tuples(adapters(), weights), min_size=1, max_size=3))
def test_a_sum_comes_back_from_disk_as_it_was(
    base: Base, tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[Build, float]]
) -> None:
    found = summed(base, [build(base) for build, _ in parts], [w for _, w in parts])
    folder = tmp_path_factory.mktemp("sum")
    save_adapter(found, folder)
    loaded = load_adapter(folder, base)
    assert loaded.info.made_of == found.info.made_of
    state, again = adapter_state(found.model), adapter_state(loaded.model)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_a_sum_of_more_than_d_ranks_has_d(base: Base) -> None:
    parts = [adapter_of(base, ranks={"items": 3, "transform": 4}, seed=seed) for seed in range(3)]
    found = summed(base, parts, [1.0, 1.0, 1.0])
    assert found.info.config.ranks == {"items": 4, "transform": 4}
    expected = sum(row_deltas(base, part, "items") for part in parts)
    assert_close(row_deltas(base, found, "items"), expected)  # type: ignore[arg-type]


matrices = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 7), st.integers(0, 999))


@several
@given(shape=matrices, rank=st.integers(1, 7))
def test_truncation_is_the_best_approximation_of_a_rank(
    shape: tuple[int, int, int, int], rank: int
) -> None:
    n, r, d, seed = shape
    generator = np.random.default_rng(seed)
    left, right = generator.normal(size=(n, r)), generator.normal(size=(r, d))
    found, kept = truncated(Product(torch.from_numpy(left), torch.from_numpy(right)), rank)
    u, s, vt = np.linalg.svd(left @ right, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vt[:rank]
    assert found.rank <= rank
    lost = np.linalg.norm(left @ right - (found.left @ found.right).numpy())
    assert np.isclose(lost, np.linalg.norm(left @ right - best), atol=1e-9)
    assert np.isclose(kept, (s[:rank] ** 2).sum() / (s**2).sum())
    gaps = s[rank - 1 : rank + 1]
    if len(gaps) < 2 or gaps[0] - gaps[1] > 1e-3:  # else the best is not the only one
        assert np.allclose((found.left @ found.right).numpy(), best, atol=1e-7)


@several
@given(shape=matrices)
def test_truncation_to_the_full_rank_is_the_same_matrix(shape: tuple[int, int, int, int]) -> None:
    n, r, d, seed = shape
    generator = torch.Generator().manual_seed(seed)
    product = Product(
        torch.randn(n, r, generator=generator), torch.randn(r, d, generator=generator)
    )
    found, kept = truncated(product, r)
    assert torch.allclose(found.left @ found.right, product.left.double() @ product.right.double())
    assert kept == pytest.approx(1.0)


@several
@given(build=adapters(), rank=st.integers(1, DIM))
def test_a_truncated_adapter_is_the_best_of_its_rank_in_each_target(
    base: Base, build: Build, rank: int
) -> None:
    adapter = build(base)
    try:
        found = truncated_to(base, adapter, rank)
    except ConfigError:
        assert all(r <= rank for r in adapter.info.config.ranks.values())
        return
    assert all(r <= rank for r in found.info.config.ranks.values())
    moved = [(row_deltas(base, adapter, n), row_deltas(base, found, n)) for n in ("users", "items")]
    for before, after in [*moved, (transform_delta(base, adapter), transform_delta(base, found))]:
        s = torch.linalg.svdvals(before)
        lost = (before - after).norm()
        size = max(1.0, float(s.max()))
        assert float(lost) == pytest.approx(float(s[rank:].norm()), abs=TOLERANCE * size)
    ids = list(adapter.items.ids)
    assert torch.equal(bias_delta(base, found, ids), bias_delta(base, adapter, ids))


def test_a_target_below_the_rank_stays_to_the_bit(base: Base) -> None:
    adapter = adapter_of(base, {"users": 1, "items": 3, "transform": 2})
    found = truncated_to(base, adapter, 2)
    before, after = adapter_state(adapter.model), adapter_state(found.model)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == before.keys() - {"items.a", "items.b"}
    kept = found.info.made_of.kept  # type: ignore[union-attr]
    assert kept["users"] == kept["transform"] == 1.0
    assert 0 < kept["items"] < 1


def test_right_factors_are_as_long_as_in_a_fresh_adapter(base: Base) -> None:
    state = AdapterState.of(
        truncated_to(base, adapter_of(base, {"items": 4, "transform": 4}), 2)
    ).tensors
    assert torch.allclose(state["items.b"].norm(dim=1), torch.tensor(DIM**0.5))
    assert torch.allclose(state["transform.q"].norm(dim=1), torch.ones(2))


def test_full_rows_become_factors(base: Base) -> None:
    full = adapter_of(base, {}, kind="full")
    found = truncated_to(base, full, DIM)
    assert found.info.config.kind == "lora"
    assert found.info.config.ranks == {"users": DIM, "items": DIM}
    assert_close(row_deltas(base, found, "items"), row_deltas(base, full, "items"))


def test_a_sum_with_full_rows_can_be_truncated(base: Base) -> None:
    parts = [adapter_of(base, {}, kind="full"), adapter_of(base, {"items": 2, "transform": 3})]
    whole = summed(base, parts, [1.0, 0.5])
    found = summed(base, parts, [1.0, 0.5], rank=DIM)
    assert found.info.config.ranks == {"users": DIM, "items": DIM, "transform": 3}
    for name in ("users", "items"):
        assert_close(row_deltas(base, found, name), row_deltas(base, whole, name))


def test_a_sum_that_is_not_above_the_rank_is_not_cut(base: Base) -> None:
    parts = [adapter_of(base, {"items": 1}, seed=seed) for seed in (1, 2)]
    whole, found = (summed(base, parts, [1.0, 1.0], rank) for rank in (None, 3))
    assert found.info.digest == whole.info.digest
    with pytest.raises(ConfigError, match="Rank 5 is out of range"):
        summed(base, parts, [1.0, 1.0], rank=DIM + 1)


def test_full_rows_and_a_transform_add_up(base: Base) -> None:
    parts = [adapter_of(base, {}, kind="full"), adapter_of(base, {"items": 2, "transform": 1})]
    found = summed(base, parts, [1.0, 0.5])
    assert found.info.config.describe() == "users,items,transform:1,bias"
    assert_close(transform_delta(base, found), 0.5 * transform_delta(base, parts[1]))


def test_singular_values_are_those_of_the_dense_matrix() -> None:
    generator = torch.Generator().manual_seed(2)
    product = Product(
        torch.randn(7, 3, generator=generator), torch.randn(3, 5, generator=generator)
    )
    dense = torch.linalg.svdvals(product.left.double() @ product.right.double())
    assert torch.allclose(singular_values(product), dense[:3])


@pytest.mark.parametrize("given_weights", [[], [1.0], [1.0, 1.0, 1.0]])
def test_a_weight_for_each_adapter_is_asked_for(base: Base, given_weights: list[float]) -> None:
    state = AdapterState.of(adapter_of(base, {"items": 2}))
    with pytest.raises(ConfigError, match=rf"2 adapters and {len(given_weights)} weights"):
        weighted_sum([state, state], given_weights)


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_is_refused(base: Base, weight: float) -> None:
    state = AdapterState.of(adapter_of(base, {"items": 2}))
    with pytest.raises(ConfigError, match="finite ones that are not 0"):
        weighted_sum([state, state], [1.0, weight])


@pytest.mark.parametrize("rank", [-1, 0, DIM + 1])
def test_a_rank_out_of_range_is_refused(base: Base, rank: int) -> None:
    with pytest.raises(ConfigError, match="1 to 4"):
        truncate(AdapterState.of(adapter_of(base, {"items": 2})), rank)


def test_a_rank_that_would_cut_nothing_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match=r"items:2,bias is above rank 2.*rank below 2"):
        truncate(AdapterState.of(adapter_of(base, {"items": 2})), 2)


def test_adapters_of_two_bases_are_refused_with_both_digests(
    base: Base, base_maker: Callable[..., Any]
) -> None:
    other = base_maker(bias=False)
    states = [AdapterState.of(adapter_of(b, {"items": 2})) for b in (base, other)]
    with pytest.raises(AdapterMismatchError) as refused:
        weighted_sum(states, [1.0, 1.0])
    assert all(b.digest in str(refused.value) for b in (base, other))


def test_adapters_between_which_the_base_gained_rows_are_refused(base: Base) -> None:
    older = AdapterState.of(adapter_of(base, {"items": 2}))
    newer = replace(older, known={"users": USERS + 1, "items": ITEMS})
    with pytest.raises(AdapterMismatchError, match=r"6 users.*7 users.*gained rows"):
        weighted_sum([older, newer], [1.0, 1.0])


@several
@given(first=adapters(), second=adapters())
def test_on_a_base_that_has_grown_since_the_sum_is_the_same_adapter(
    base: Base, tmp_path_factory: pytest.TempPathFactory, first: Build, second: Build
) -> None:
    parts, folders = [first(base), second(base)], [tmp_path_factory.mktemp(n) for n in "ab"]
    now = replace(
        base,
        model=base.model.replaced(users=table_of(torch.randn(USERS + 2, DIM))),
        users=base.users.extend(["newcomer", IDS[0]]),
    )
    for adapter, folder in zip(parts, folders, strict=True):
        save_adapter(adapter, folder)
    found = summed(now, [load_adapter(folder, now) for folder in folders], [0.5, 2.0])
    assert found.info.digest == summed(base, parts, [0.5, 2.0]).info.digest
    assert "newcomer" in set(found.users.ids)


def test_parents_are_in_the_record(base: Base, tmp_path: Path) -> None:
    parts = [adapter_of(base, {"items": 2}, seed=seed) for seed in (1, 2)]
    save_adapter(summed(base, parts, [0.25, 0.75], rank=1), tmp_path)
    info = load_adapter(tmp_path, base).info
    assert info.made_of is not None
    assert info.made_of.parents == [part.info.digest for part in parts]
    assert info.made_of.weights == [0.25, 0.75]
    assert 0 < info.made_of.kept["items"] < 1
    assert info.config.ranks == {"items": 1}
