from __future__ import annotations

import pytest
from pydantic import ValidationError

from lorarec.errors import ConfigError
from lorarec.lora.config import (
    AdapterConfig,
    full_config,
    lora_config,
    parse_targets,
    recorded_rank,
)


def test_rank_alone_means_users_items_transform_and_bias() -> None:
    config = lora_config(8, 64)
    assert config.ranks == {"users": 8, "items": 8, "transform": 8}
    assert config.bias


def test_targets_replace_the_default_ones() -> None:
    config = lora_config(8, 64, "items")
    assert config.ranks == {"items": 8}
    assert not config.bias


def test_a_rank_in_targets_wins_over_rank() -> None:
    assert lora_config(8, 64, "items:2,users").ranks == {"users": 8, "items": 2}


def test_bias_alone_has_no_rank() -> None:
    config = lora_config(8, 64, "bias")
    assert (config.ranks, config.bias) == ({}, True)


@pytest.mark.parametrize("rank", [1, 64])
def test_ranks_from_one_to_the_dimension_are_taken(rank: int) -> None:
    assert lora_config(rank, 64).ranks["users"] == rank


@pytest.mark.parametrize("rank", [-1, 0, 65])
def test_a_rank_outside_one_to_d_is_refused_with_the_range(rank: int) -> None:
    with pytest.raises(ConfigError, match=rf"Rank {rank} for users .* 1 to 64") as refused:
        lora_config(rank, 64)
    assert refused.value.exit_code == 2


def test_a_named_rank_above_d_is_refused() -> None:
    with pytest.raises(ConfigError, match="Rank 65 for items"):
        lora_config(8, 64, "items:65")


def test_the_advised_rank_fits_a_small_base() -> None:
    with pytest.raises(ConfigError, match="--rank 4"):
        lora_config(9, 4)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("item:8", "Did you mean 'items'"),
        ("", "no target ''"),
        ("items,,bias", "no target ''"),
        ("items,items", "twice"),
        ("bias:4", "no rank"),
        ("items:x", "whole number"),
        ("items:1.5", "whole number"),
        ("items:", "whole number"),
        ("items:0", "1 or more"),
        ("items:-3", "1 or more"),
    ],
)
def test_unreadable_targets_are_refused_with_the_reason(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_targets(text)


def test_spaces_around_targets_are_ignored() -> None:
    assert parse_targets("items:8, bias") == {"items": 8, "bias": None}


@pytest.mark.parametrize("text", ["users:3,items:8,transform:2,bias", "items:8", "bias"])
def test_describe_names_targets_as_they_are_parsed(text: str) -> None:
    config = lora_config(1, 64, text)
    assert config.describe() == text
    assert lora_config(5, 64, config.describe()) == config


def test_full_fine_tuning_has_rows_and_bias_and_no_rank() -> None:
    config = full_config(3)
    assert (config.kind, config.ranks, config.bias, config.seed) == ("full", {}, True, 3)
    assert config.describe() == "users,items,bias"


@pytest.mark.parametrize(
    "edit",
    [
        {"ranks": {"users": 0}},
        {"ranks": {"users": -1}},
        {"ranks": {"tower": 4}},
        {"alpha": 0.0},
        {"kind": "dora"},
        {"rnak": 4},
    ],
)
def test_a_recorded_shape_that_cannot_be_is_refused(edit: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AdapterConfig.model_validate(AdapterConfig().model_dump() | edit)


def test_the_targets_are_told_in_one_order_whatever_order_they_were_stored_in() -> None:
    config = AdapterConfig(ranks={"transform": 3, "items": 2, "users": 1})
    assert config.describe() == "users:1,items:2,transform:3,bias"


def test_values_of_their_own_are_asked_for_by_full_in_place_of_a_rank() -> None:
    config = lora_config(8, 64, "items:full,users,bias")
    assert (config.ranks, config.whole) == ({"users": 8}, ("items",))
    assert config.describe() == "items:full,users:8,bias"


@pytest.mark.parametrize("text", ["transform:full", "bias:full", "items:half"])
def test_what_has_no_values_of_its_own_is_not_asked_for_them(text: str) -> None:
    with pytest.raises(ConfigError, match="rank"):
        lora_config(8, 64, text)


def test_values_in_place_of_factors_are_another_rank() -> None:
    assert recorded_rank(lora_config(8, 64, "items:full,users,bias")) == "mixed"
    assert recorded_rank(lora_config(8, 64, "items:full,bias")) is None


def test_a_target_may_have_an_alpha_of_its_own() -> None:
    config = lora_config(8, 16, "items:4:2,users::0.5,transform,bias", alpha=3.0)
    assert config.ranks == {"users": 8, "items": 4, "transform": 8}
    assert config.alphas == {"items": 2.0, "users": 0.5}
    assert (config.scale("items"), config.scale("transform")) == (2.0 / 4**0.5, 3.0 / 8**0.5)
    assert config.describe() == "users:8:0.5,items:4:2,transform:8,bias"
    assert lora_config(1, 16, config.describe(), alpha=3.0) == config


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("items:8:0", "is '0'"),
        ("items:8:-1", "is '-1'"),
        ("items:8:nan", "is 'nan'"),
        ("items:8:inf", "is 'inf'"),
        ("items:8:", "is ''"),
        ("items:8:2:3", "is '2:3'"),
        ("items:full:2", "no factors"),
        ("bias::2", "no factors"),
        ("items:x:2", "whole number"),
    ],
)
def test_an_alpha_that_cannot_be_is_refused(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        lora_config(8, 16, text)
