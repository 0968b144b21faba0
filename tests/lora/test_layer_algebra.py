"""Sums, truncation, differences and merging of adapters that move layers of two towers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import made
from random_adapters import DIM, as_towers
from torch import Tensor
from towers import embedding

from lorarec.errors import ConfigError
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.attach import Touched, adapter_parameters, attach, linear_layers, merged
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.lora.derived import quantized, summed, truncated_to
from lorarec.lora.difference import difference
from lorarec.lora.merging import merged_base
from lorarec.lora.state import AdapterState
from lorarec.lora.towers import largest_ranks
from lorarec.models.artefact import Base, load_base, save_base
from lorarec.models.two_tower import TowerConfig, TwoTower

LAYER = "item_tower.layers.0"
ROWS = torch.arange(6)


@pytest.fixture
def base(base_maker: Callable[..., Any]) -> Base:
    return as_towers(base_maker())


def low(base: Base, rank: int = 2, targets: str = "*") -> AdapterConfig:
    return lora_config(rank, DIM, targets, alpha=1.5, layers=largest_ranks(base.model))


def whole(base: Base) -> AdapterConfig:
    return full_config(layers=tuple(linear_layers(base.model)))


def adapter_of(base: Base, config: AdapterConfig, seed: int = 0) -> Adapter:
    none = torch.empty(0, DIM)
    touched = Touched(ROWS, torch.arange(8), none, none, torch.arange(8))
    model = attach(base.model, config, touched).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for tensor in adapter_parameters(model).values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
    return made(base, model, config, [], [])


def moved(base: Base, adapter: Adapter) -> dict[str, tuple[Tensor, Tensor | None]]:
    """What W and the constant of each layer are moved by."""
    before, after = linear_layers(base.model), linear_layers(merged(adapter.model))
    return {
        name: (
            (after[name].weight - layer.weight).detach(),
            None if layer.bias is None else (after[name].bias - layer.bias).detach(),
        )
        for name, layer in before.items()
    }


@pytest.mark.parametrize("kinds", [(low, low), (low, whole), (whole, whole)])
def test_what_layers_are_moved_by_adds_up(
    base: Base, kinds: tuple[Callable[[Base], AdapterConfig], ...]
) -> None:
    one, other = (adapter_of(base, kind(base), seed) for seed, kind in enumerate(kinds))
    total = moved(base, summed(base, [one, other], [0.7, -1.2]))
    a, b = moved(base, one), moved(base, other)
    for name, (weight, constant) in total.items():
        assert torch.allclose(weight, 0.7 * a[name][0] - 1.2 * b[name][0], atol=1e-5)
        if constant is not None:
            assert torch.allclose(constant, 0.7 * a[name][1] - 1.2 * b[name][1], atol=1e-5)  # type: ignore[operator]


@pytest.mark.parametrize("kind", [low, whole])
def test_the_sum_of_one_with_weight_1_is_the_same_to_the_bit(
    base: Base, kind: Callable[[Base], AdapterConfig]
) -> None:
    adapter = adapter_of(base, kind(base))
    assert summed(base, [adapter], [1.0]).info.digest == adapter.info.digest


def test_no_rank_of_a_sum_is_above_the_smaller_side_of_its_layer(base: Base) -> None:
    parts = [adapter_of(base, low(base, 3), seed) for seed in range(3)]
    found = summed(base, parts, [1.0, 1.0, 1.0])
    assert found.info.config.ranks[LAYER] == DIM
    each = [moved(base, part)[LAYER][0] for part in parts]
    assert torch.allclose(moved(base, found)[LAYER][0], sum(each[1:], each[0]), atol=1e-5)


def test_truncated_a_layer_is_the_nearest_of_its_rank(base: Base) -> None:
    adapter = adapter_of(base, low(base, 3, LAYER))
    found = truncated_to(base, adapter, 1)
    u, s, vt = torch.linalg.svd(moved(base, adapter)[LAYER][0])
    assert torch.allclose(moved(base, found)[LAYER][0], s[0] * u[:, :1] @ vt[:1], atol=1e-5)
    assert found.info.config.ranks == {LAYER: 1}


def test_whole_layers_are_not_truncated(base: Base) -> None:
    with pytest.raises(ConfigError, match="trained whole"):
        truncated_to(base, adapter_of(base, whole(base)), 1)


@pytest.mark.parametrize("kind", [low, whole])
def test_a_difference_has_a_line_for_each_layer(
    base: Base, kind: Callable[[Base], AdapterConfig]
) -> None:
    one, other = adapter_of(base, low(base), 1), adapter_of(base, kind(base), 2)
    found = {c.part: c for c in difference(AdapterState.of(one), AdapterState.of(other))}
    for name, (weight, _) in moved(base, one).items():
        apart = weight - moved(base, other)[name][0]
        root = math.sqrt(apart.shape[1])
        assert found[name].mean == pytest.approx(float(apart.norm()) / root, rel=1e-4)
        assert found[name].largest == pytest.approx(
            float(torch.linalg.matrix_norm(apart, 2)), rel=1e-4
        )
        assert found[name].mean_a == pytest.approx(float(weight.norm()) / root, rel=1e-4)


@pytest.mark.parametrize("kind", [low, whole])
def test_merged_into_a_base_it_comes_from_disk_and_scores_as_the_adapter(
    base: Base, kind: Callable[[Base], AdapterConfig], tmp_path: Path
) -> None:
    adapter = adapter_of(base, kind(base))
    save_base(merged_base(base, adapter), tmp_path)
    pairs = torch.cartesian_prod(ROWS, torch.arange(8)).T
    expected = adapter.model.score(*pairs)
    assert torch.allclose(load_base(tmp_path).model.score(*pairs), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_in_fewer_bytes_it_comes_back_as_it_was_rounded(
    base: Base, storage: Any, tmp_path: Path
) -> None:
    found = quantized(base, adapter_of(base, low(base)), storage)
    save_adapter(found, tmp_path)
    again = load_adapter(tmp_path, base)
    assert torch.equal(again.model.item_vectors(ROWS), found.model.item_vectors(ROWS))


def test_features_that_histories_read_are_not_merged(base: Base) -> None:
    model = base.model
    assert isinstance(model, TwoTower)
    described = TwoTower.from_tables(
        model.users.weight,  # type: ignore[arg-type]
        model.items.weight,  # type: ignore[arg-type]
        model.similarity,
        model.temperature,
        model.config,
        item_features=embedding(8),
    )
    other = replace(base, model=described)
    adapter = adapter_of(other, low(other, 1, "item_tower.features.*"))
    with pytest.raises(ConfigError, match=r"item_tower\.features\..* histories go on reading"):
        merged_base(other, adapter)


def test_a_layer_wider_than_d_is_truncated_to_a_rank_above_d(
    base_maker: Callable[..., Any],
) -> None:
    plain = as_towers(base_maker())
    assert isinstance(plain.model, TwoTower)
    wide = TwoTower.from_tables(
        plain.model.users.weight,  # type: ignore[arg-type]
        plain.model.items.weight,  # type: ignore[arg-type]
        plain.model.similarity,
        plain.model.temperature,
        TowerConfig(layers=(12, 9)),
    )
    base = replace(plain, model=wide)
    adapter = adapter_of(base, low(base, 8, "item_tower.layers.1:8"))
    found = truncated_to(base, adapter, 6)
    assert found.info.config.ranks == {"item_tower.layers.1": 6}


def test_whole_layers_of_an_adapter_stay_while_the_rest_is_truncated(base: Base) -> None:
    config = low(base, 3, "items,item_tower.out:full")
    adapter = adapter_of(base, config)
    found = truncated_to(base, adapter, 1)
    assert (found.info.config.ranks, found.info.config.whole) == ({"items": 1}, ("item_tower.out",))
    before, after = (moved(base, each)["item_tower.out"][0] for each in (adapter, found))
    assert torch.equal(before, after)


def test_a_rank_for_a_sum_is_for_rows_with_values_of_their_own_too(base: Base) -> None:
    part = adapter_of(base, low(base, 2, "users:full,bias"))
    found = summed(base, [part, part], [0.5, 0.5], rank=1)
    assert (found.info.config.ranks, found.info.config.whole) == ({"users": 1}, ())
