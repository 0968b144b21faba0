"""LoRA on the linear layers of two towers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from towers import BIAS, EVERY, HAD, ITEMS, USERS, embedding

from lorarec.errors import AdapterMismatchError, ConfigError
from lorarec.lora.attach import (
    Touched,
    adapter_parameters,
    adapter_state,
    attach,
    disabled,
    linear_layers,
    merged,
    restore,
)
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.lora.linear import LoRALinear
from lorarec.lora.size import adapter_size, oversized
from lorarec.lora.towers import largest_ranks, tower_layers
from lorarec.models.base import BaseModel
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower

NONE = torch.empty(0, dtype=torch.int64)
NOTHING = Touched(NONE, NONE, torch.empty(0, 4), torch.empty(0, 4), NONE)


@pytest.fixture
def base() -> TwoTower:
    model = TwoTower.from_tables(
        USERS.clone(),
        ITEMS.clone(),
        "cosine",
        0.2,
        TowerConfig(layers=(6, 3), history="mean"),
        HAD,
        embedding(3),
        embedding(5),
        BIAS.clone(),
    )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.requires_grad_(False)


def asked(base: BaseModel, targets: str, rank: int = 2) -> AdapterConfig:
    return lora_config(rank, 4, targets, layers=largest_ranks(base))


def moved(model: BaseModel) -> BaseModel:
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


SHAPES = ("item_tower.*", "user_tower.out,item_tower.out", "*_tower.layers.?,transform", "*")
every_shape = pytest.mark.parametrize("targets", SHAPES)


def test_every_linear_layer_is_offered_by_name_with_its_largest_rank(base: TwoTower) -> None:
    ranks = largest_ranks(base)
    tower = {"layers.0": 4, "layers.1": 3, "out": 3}
    features = {"features.parts.2_v.linear": 3, "features.parts.numeric.linear": 2}
    each = {**tower, **features}
    assert ranks == {f"{t}_tower.{n}": r for t in ("user", "item") for n, r in each.items()}
    assert largest_ranks(MatrixFactorization.create(2, 2, 4, "dot", 0.1, seed=0)) == {}


@every_shape
def test_a_fresh_adapter_scores_as_the_base_to_the_bit(base: TwoTower, targets: str) -> None:
    fresh = attach(base, asked(base, targets), NOTHING)
    assert torch.equal(fresh.score(*EVERY), base.score(*EVERY))


@every_shape
def test_turned_off_it_scores_as_the_base_and_the_base_is_not_edited(
    base: TwoTower, targets: str
) -> None:
    before = base.score(*EVERY)
    model = moved(attach(base, asked(base, targets), NOTHING))
    assert not torch.allclose(model.score(*EVERY), before)
    with disabled(model):
        assert torch.equal(model.score(*EVERY), before)
    assert torch.equal(base.score(*EVERY), before)


@every_shape
def test_merged_into_layers_of_its_own_it_scores_the_same(base: TwoTower, targets: str) -> None:
    model = moved(attach(base, asked(base, targets), NOTHING))
    copy = merged(model)
    assert torch.allclose(copy.score(*EVERY), model.score(*EVERY), atol=1e-5)
    assert all(isinstance(layer, nn.Linear) for layer in linear_layers(copy).values())
    assert copy.replaced(bias=base.bias).tensors().keys() == base.tensors().keys()


@every_shape
def test_its_state_restores_it_to_the_bit(base: TwoTower, targets: str) -> None:
    config = asked(base, targets)
    model = moved(attach(base, config, NOTHING))
    again = restore(base, config, adapter_state(model))
    assert torch.equal(again.score(*EVERY), model.score(*EVERY))


def test_a_layer_is_w_plus_the_scaled_product() -> None:
    layer = nn.Linear(5, 3)
    lora = LoRALinear(layer, 2, 1.5, torch.Generator().manual_seed(0))
    with torch.no_grad():
        lora.b.normal_()
    inputs = torch.randn(4, 5)
    weight = layer.weight + 1.5 / 2**0.5 * lora.b @ lora.a
    assert torch.allclose(lora(inputs), inputs @ weight.T + layer.bias, atol=1e-6)


def test_only_what_was_asked_for_is_trained_and_costs_r_times_both_sides(base: TwoTower) -> None:
    model = attach(base, asked(base, "item_tower.layers.0:3"), NOTHING)
    shapes = {name: tuple(p.shape) for name, p in adapter_parameters(model).items()}
    assert shapes == {"item_tower.layers.0.a": (3, 4), "item_tower.layers.0.b": (6, 3)}


def test_a_user_s_history_reads_the_base_s_features_of_items(base: TwoTower) -> None:
    users = torch.arange(3)
    model = moved(attach(base, asked(base, "item_tower.features.*"), NOTHING))
    assert torch.equal(model.user_vectors(users), base.user_vectors(users))
    assert not torch.allclose(model.item_vectors(users), base.item_vectors(users))


def test_full_fine_tuning_of_all_layers_moves_constants_too_and_is_counted(base: TwoTower) -> None:
    config = full_config(layers=tuple(linear_layers(base)))
    model = attach(base, config, NOTHING)
    assert torch.equal(model.score(*EVERY), base.score(*EVERY))
    own = sum(p.numel() for layer in linear_layers(base).values() for p in layer.parameters())
    size = adapter_size(model, 0, 0)
    assert size.parameters == size.full == own
    assert torch.allclose(merged(moved(model)).score(*EVERY), model.score(*EVERY), atol=1e-5)
    assert adapter_size(attach(base, asked(base, "transform"), NOTHING), 0, 0).full == own


def test_a_pattern_takes_what_a_small_layer_can_have(base: TwoTower) -> None:
    config = asked(base, "item_tower.*,items:1", rank=4)
    assert config.ranks["item_tower.layers.0"] == 4
    assert config.ranks["item_tower.out"] == 3
    assert lora_config(4, 4, config.describe(), layers=largest_ranks(base)) == config


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("item_towr.out", r"no target 'item_towr.out'.*Did you mean.*item_tower.out"),
        ("item_tower.out:4", r"Rank 4 for item_tower.out is out of range. Expected 1 to 3"),
        ("item_tower.*,item_tower.out", r"'item_tower.out' stands twice"),
        ("nothing.*", r"no target 'nothing.\*'"),
    ],
)
def test_targets_that_cannot_be_are_refused(base: TwoTower, targets: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        asked(base, targets)


def test_layers_that_a_base_has_not_are_named(base: TwoTower) -> None:
    plain = MatrixFactorization.create(3, 5, 4, "cosine", 0.2, seed=0)
    with pytest.raises(AdapterMismatchError, match=r"item_tower\.layers\.0"):
        attach(plain, asked(base, "item_tower.layers.0"), NOTHING)


def test_factors_that_outnumber_a_layer_s_weights_are_told(base: TwoTower) -> None:
    (sentence,) = oversized(asked(base, "item_tower.layers.0:3"), base, {})
    assert (
        "Rank 3 on item_tower.layers.0 trains 30 numbers where the layer has 24 weights" in sentence
    )
    assert "largest rank that saves is 2" in sentence
    assert tower_layers(base)["item_tower.layers.0"].weight.numel() == 24
