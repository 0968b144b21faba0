"""The names of arms: the plain ones, and adapters of a rank."""

from __future__ import annotations

import pytest

from lorarec.config import Settings
from lorarec.config.arms import PLAIN, in_order, rank_of
from lorarec.errors import ConfigError


def arms(text: str) -> tuple[str, ...]:
    return Settings().with_options({"evaluate.arms": text}).evaluate.arms


def test_all_stands_for_the_plain_ones() -> None:
    assert arms("all") == PLAIN


def test_ranks_stand_beside_others() -> None:
    assert arms("base,lora:16,lora,lora:4") == ("base", "lora:16", "lora", "lora:4")
    assert [rank_of(arm) for arm in ("lora:16", "lora", "base")] == [16, None, None]


@pytest.mark.parametrize(
    "wrong", ["lore", "lora:", "lora:0", "lora:-4", "lora:x", "full:8", "lora:4:2"]
)
def test_any_other_name_is_refused_with_those_there_are(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"popularity, .*pooled, .* or lora:R"):
        arms(f"base,{wrong}")


def test_one_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of them twice"):
        arms("lora:4,lora:4")


def test_they_are_shown_in_one_order() -> None:
    mixed = ["made", "full", "lora:16", "base", "lora:4", "lora", "popularity"]
    assert in_order(mixed) == ["popularity", "base", "lora", "lora:4", "lora:16", "full", "made"]
