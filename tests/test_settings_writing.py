"""Settings written as text give the same settings again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lorarec.config import Settings, load_settings
from lorarec.config.writing import overrides, toml_text
from lorarec.errors import ConfigError

SECTIONS = ("data", "model", "features", "train")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
CHOSEN: list[dict[str, Any]] = [
    {},
    {"model.dim": 64, "train.learning_rate": 1e-5, "train.weight_decay": 0.1},
    {"data.columns": {"user_id": "customer"}, "data.events": {"view": 1, "buy now": 5.5}},
    {"data.cutoffs": [1_700_000_000, 1_700_086_400], "model.layers": [256, 128]},
    {"train.clip_norm": 1.5, "train.threads": 2, "model.bias": False, "data.min_rating": 4},
    {"features.items": "data/Łukasz 🎻.parquet", "model.name": "two-tower"},
    {"features.item_columns": {"price": {"kind": "numeric", "log1p": True}}},
]


@pytest.mark.parametrize("options", CHOSEN)
def test_the_file_gives_the_settings_again(tmp_path: Path, options: dict[str, Any]) -> None:
    settings, file = Settings().with_options(options), tmp_path / "best.toml"
    file.write_text(toml_text(settings, SECTIONS), encoding="utf-8")
    assert load_settings(file, environ={}) == settings


@pytest.mark.parametrize("options", CHOSEN)
def test_the_options_give_the_settings_again(bare_project: Path, options: dict[str, Any]) -> None:
    settings = Settings().with_options(options)
    found = overrides(settings, Settings(), SECTIONS)
    assert load_settings(environ={}, overrides=found) == settings


def test_options_are_only_what_differs(bare_project: Path) -> None:
    beside = Settings().with_options({"train.epochs": 7, "model.dim": 64})
    settings = beside.with_options({"model.dim": 32, "adapt.rank": 2})
    assert overrides(settings, beside, SECTIONS) == ["model.dim=32"]


def test_an_option_can_take_back_a_file_s_value(bare_project: Path) -> None:
    beside = Settings().with_options({"train.clip_norm": 1.0, "model.bias": False})
    found = overrides(Settings(), beside, SECTIONS)
    assert sorted(found) == ["model.bias=true", "train.clip_norm=none"]
    Path("lorarec.toml").write_text(toml_text(beside, SECTIONS))
    assert load_settings(environ={}, overrides=found) == Settings()


@given(name=TEXTS, text=TEXTS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_and_any_text_are_toml(name: str, text: str) -> None:
    settings = Settings().with_options(
        {"features.items": text, "features.item_columns": {name: {"kind": text}}}
    )
    tree = tomllib.loads(toml_text(settings, ("features",)))
    assert tree == {"features": {"items": text, "item_columns": {name: {"kind": text}}}}


@pytest.mark.parametrize(
    "value",
    ["[0.3,0.003]", "[0.1]", "[0.1,0.1]", "[0,0.1]", "[0.1,0.2,0.3]"],
)
def test_a_range_is_two_rising_values(bare_project: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"tune\.learning_rate"):
        load_settings(environ={}, overrides=[f"tune.learning_rate={value}"])


@pytest.mark.parametrize("value", ["[]", "[0.01,0.1]", "0.01,0.1"])
def test_a_range_is_written_as_a_list_or_with_a_comma(bare_project: Path, value: str) -> None:
    found = load_settings(environ={}, overrides=[f"tune.learning_rate={value}"])
    assert found.tune.learning_rate in {(), (0.01, 0.1)}


@pytest.mark.parametrize("value", ["[64,64]", "[0]", "[5000]"])
def test_dimensions_are_distinct_and_in_range(bare_project: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"tune\.dims"):
        load_settings(environ={}, overrides=[f"tune.dims={value}"])
