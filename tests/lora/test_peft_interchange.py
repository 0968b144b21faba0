"""Adapters in PEFT's format beside PEFT itself: it loads what we write, we what it trains."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import made
from random_adapters import ITEMS, USERS, as_towers
from scipy import sparse
from torch import nn
from towers import embedding

from lorarec.errors import ConfigError
from lorarec.lora.adapter import Adapter
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.config import AdapterConfig
from lorarec.lora.peft_export import peft_export, save_peft
from lorarec.lora.peft_import import from_peft
from lorarec.lora.peft_reading import read_peft
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel, plain_tables
from lorarec.models.two_tower import TwoTower
from lorarec.storage import read_tensors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peft: Any = pytest.importorskip("peft", reason="PEFT is a dependency of development alone")

LAYERS = {"user_tower.layers.0": 2, "item_tower.layers.0": 1, "item_tower.out": 3}


def with_peft(base: Base, folder: Path) -> BaseModel:
    """PEFT's own model over a copy of the base's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: BaseModel = peft.PeftModel.from_pretrained(fresh(base), str(folder)).base_model.model
    return found


def fresh(base: Base) -> BaseModel:
    """A copy, as PEFT changes the model that it is given; it trains no sparse table."""
    model = copy.deepcopy(base.model)
    for name in ("users", "items"):
        getattr(model, name).sparse = False
    return model


def vectors(model: BaseModel) -> torch.Tensor:
    """Of every user and every item that the base knows."""
    with torch.no_grad():
        return torch.cat(
            [model.user_vectors(torch.arange(USERS)), model.item_vectors(torch.arange(ITEMS))]
        )


def exported(base: Base, adapter: Adapter, folder: Path, rest: Any = "drop") -> Path:
    folder.mkdir(exist_ok=True)
    save_peft(peft_export(base, adapter, rest), folder)
    return folder


def some_rows(base: Base, ranks: dict[str, int], alpha: float = 1.5) -> Adapter:
    """Rows 0, 2 and 5 of users and 1, 2, 4 and 7 of items touched, all factors random."""
    config = AdapterConfig(ranks=ranks, bias=True, alpha=alpha)
    none = torch.empty(0, base.model.dim)
    touched = Touched(
        torch.tensor([0, 2, 5]), torch.tensor([1, 2, 4, 7]), none, none, torch.tensor([1, 2, 4, 7])
    )
    model = attach(base.model, config, touched).requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for name, tensor in adapter_state(model).items():
        if not name.endswith("rows"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return made(base, model, config, [], [])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_peft_makes_the_same_vectors_of_row_adapters(
    base_maker: Callable[..., Any], tmp_path: Path, similarity: str
) -> None:
    base = base_maker(similarity)
    adapter = some_rows(base, {"users": 1, "items": 3})
    model = with_peft(base, exported(base, adapter, tmp_path))
    assert torch.allclose(vectors(model), vectors(adapter.model), atol=1e-5)
    assert not torch.allclose(vectors(model), vectors(base.model), atol=1e-2)


def test_rows_that_are_not_touched_are_zero_and_a_column_each(base: Base, tmp_path: Path) -> None:
    adapter = some_rows(base, {"items": 3})
    tensors = read_tensors(exported(base, adapter, tmp_path) / "adapter_model.safetensors")
    a = tensors["base_model.model.items.lora_embedding_A"]
    assert a.shape == (3, ITEMS)
    assert a.any(axis=0).nonzero()[0].tolist() == [1, 2, 4, 7]
    assert set(tensors) == {f"base_model.model.items.lora_embedding_{part}" for part in "AB"}


@pytest.mark.parametrize("ranks", [{"transform": 2}, {"items": 3, "transform": 3, "users": 1}])
def test_the_transform_of_a_matrix_factorization_is_in_the_rows_of_its_items(
    base: Base, tmp_path: Path, ranks: dict[str, int]
) -> None:
    adapter = some_rows(base, ranks)
    export = peft_export(base, adapter, "drop")
    assert export.folded
    model = with_peft(base, exported(base, adapter, tmp_path))
    assert torch.allclose(vectors(model), vectors(adapter.model), atol=1e-5)


@pytest.mark.parametrize("ranks", [LAYERS, {"transform": 2}, LAYERS | {"users": 1, "items": 2}])
@pytest.mark.parametrize("history", ["none", "mean"])
def test_peft_makes_the_same_vectors_of_adapters_of_towers(
    base: Base, tmp_path: Path, ranks: dict[str, int], history: str
) -> None:
    towers = as_towers(base, history)
    adapter = some_rows(towers, ranks)
    model = with_peft(towers, exported(towers, adapter, tmp_path))
    assert torch.allclose(vectors(model), vectors(adapter.model), atol=1e-5)
    assert not torch.allclose(vectors(model), vectors(towers.model), atol=1e-2)


FEATURES = ("item_tower.features.parts.2_v.linear", "user_tower.features.parts.2_v.linear")


def described(base: Base, history: str) -> Base:
    """Two towers with features of users and items, their weights at random."""
    towers = as_towers(base, history)
    assert isinstance(towers.model, TwoTower)
    had = sparse.csr_matrix(np.random.default_rng(0).integers(0, 2, (USERS, ITEMS)))
    known = plain_tables(base.model)
    model = TwoTower.from_tables(
        known["users"].clone(),
        known["items"].clone(),
        "cosine",
        0.2,
        towers.model.config,
        had,
        embedding(USERS),
        embedding(ITEMS),
        bias=torch.zeros(ITEMS, 1),
    )
    generator = torch.Generator().manual_seed(8)
    for parameter in model.requires_grad_(False).parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return replace(towers, model=model)


@pytest.mark.parametrize(
    ("history", "layers"), [("none", FEATURES), ("mean", (FEATURES[1], "item_tower.out"))]
)
def test_layers_of_features_make_the_same_vectors(
    base: Base, tmp_path: Path, history: str, layers: tuple[str, ...]
) -> None:
    towers = described(base, history)
    adapter = some_rows(towers, {**dict.fromkeys(layers, 1), "items": 2})
    model = with_peft(towers, exported(towers, adapter, tmp_path))
    assert torch.allclose(vectors(model), vectors(adapter.model), atol=1e-5)
    assert not torch.allclose(vectors(model), vectors(towers.model), atol=1e-2)


def test_layers_that_histories_read_too_are_refused_both_ways(base: Base, tmp_path: Path) -> None:
    towers, without = (described(base, history) for history in ("mean", "none"))
    ranks = dict.fromkeys(FEATURES, 1)
    with pytest.raises(ConfigError, match=rf"moves {FEATURES[0]}\. Users' histories"):
        peft_export(towers, some_rows(towers, ranks), "drop")
    exported(without, some_rows(without, ranks), tmp_path)
    (tmp_path / "lorarec.json").unlink()
    with pytest.raises(ConfigError, match=rf"moves {FEATURES[0]}\. In PEFT"):
        from_peft(towers, read_peft(tmp_path), "books")


def test_features_that_are_called_as_a_target_are_left_alone(base: Base, tmp_path: Path) -> None:
    towers = as_towers(base, "none")
    for tower in (towers.model.user_tower, towers.model.item_tower):  # type: ignore[union-attr]
        tower.features = nn.Module()
        tower.features.items, tower.features.transform = nn.Embedding(3, 4), nn.Linear(2, 2)
    towers.model._is_lonely = lambda side: True  # type: ignore[method-assign, union-attr, assignment]
    adapter = some_rows(towers, {"items": 1, "transform": 3})
    exported(towers, adapter, tmp_path)
    found = {name for name, part in with_peft(towers, tmp_path).named_modules() if lora(part)}
    assert found == {"items", "transform"}


def lora(module: nn.Module) -> bool:
    return isinstance(module, peft.tuners.lora.LoraLayer)


@pytest.mark.parametrize("towers", [False, True])
def test_what_peft_trains_is_imported(base: Base, tmp_path: Path, towers: bool) -> None:
    base = as_towers(base) if towers else base
    modules = ["users", "items", *(["transform", "item_tower.layers.0"] if towers else [])]
    model = trained_by_peft(base, tmp_path, target_modules=modules, r=2, lora_alpha=3)
    adapter = from_peft(base, read_peft(tmp_path), "books")
    assert torch.allclose(vectors(adapter.model), vectors(model), atol=1e-5)
    assert not torch.allclose(vectors(model), vectors(base.model), atol=1e-3)
    # PEFT's training met users 0 to 2 and items 0 to 3.
    assert adapter_state(adapter.model)["users.rows"].tolist() == [0, 1, 2]
    assert adapter_state(adapter.model)["items.rows"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"use_rslora": False},
        {"use_rslora": True, "alpha_pattern": {"items": 7.0}},
        {"use_rslora": False, "alpha_pattern": {"^users": 2}, "rank_pattern": {"items": 2}},
        {"init_lora_weights": "gaussian"},
    ],
)
def test_every_scale_of_peft_is_kept(base: Base, tmp_path: Path, options: dict[str, Any]) -> None:
    options = {"target_modules": ["users", "items"], "r": 3, "lora_alpha": 5, **options}
    model = trained_by_peft(base, tmp_path, **options)
    adapter = from_peft(base, read_peft(tmp_path), "books")
    assert torch.allclose(vectors(adapter.model), vectors(model), atol=1e-5)


@pytest.mark.parametrize("rank", [4, 7])
def test_a_rank_above_the_dimension_is_brought_to_it_and_loses_nothing(
    base: Base, tmp_path: Path, rank: int
) -> None:
    model = trained_by_peft(base, tmp_path, target_modules=["users", "items"], r=rank)
    adapter = from_peft(base, read_peft(tmp_path), "books")
    assert adapter.info.config.ranks == {"users": 4, "items": 4}
    assert torch.allclose(vectors(adapter.model), vectors(model), atol=1e-5)


def test_half_precision_is_read(base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    trained_by_peft(base, tmp_path, target_modules=["items"])
    file = tmp_path / "adapter_model.safetensors"
    save_file({name: t.bfloat16() for name, t in load_file(file).items()}, file)
    model = with_peft(base, tmp_path)
    adapter = from_peft(base, read_peft(tmp_path), "books")
    assert torch.allclose(vectors(adapter.model), vectors(model), atol=1e-5)


def test_there_and_back_the_factors_are_the_same_to_the_bit(base: Base, tmp_path: Path) -> None:
    towers = as_towers(base)
    adapter = some_rows(towers, LAYERS | {"users": 1, "items": 2, "transform": 3})
    folder = read_peft(exported(towers, adapter, tmp_path, "beside"))
    back = from_peft(towers, folder, "books")
    assert back.info.config.model_dump(exclude={"seed"}) == adapter.info.config.model_dump(
        exclude={"seed"}
    )
    before, after = adapter_state(adapter.model), adapter_state(back.model)
    assert set(before) == set(after)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert back.info.made_of is not None
    assert back.info.made_of.parents == [adapter.info.digest]


def test_peft_writes_the_same_names_as_we_do(base: Base, tmp_path: Path) -> None:
    towers = as_towers(base)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    exported(towers, some_rows(towers, LAYERS | {"users": 1, "items": 2, "transform": 3}), ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.PeftModel.from_pretrained(fresh(towers), str(ours)).save_pretrained(str(theirs))
    a, b = (read_tensors(f / "adapter_model.safetensors") for f in (ours, theirs))
    assert {n: t.tolist() for n, t in a.items()} == {n: t.tolist() for n, t in b.items()}
    ours_said, theirs_said = (
        json.loads((f / "adapter_config.json").read_text()) for f in (ours, theirs)
    )
    assert {name: theirs_said[name] for name in ours_said} == ours_said


def test_grown_rows_and_bias_come_back_from_beside(
    base: Base, adapter: Adapter, tmp_path: Path
) -> None:
    folder = read_peft(exported(base, adapter, tmp_path / "out", "beside"))
    back = from_peft(base, folder, "books")
    assert (list(back.users.ids), list(back.items.ids)) == (
        list(adapter.users.ids),
        list(adapter.items.ids),
    )
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(11)).T
    assert torch.allclose(back.model.score(*pairs), adapter.model.score(*pairs), atol=1e-5)
    rows = torch.arange(11)
    assert torch.equal(back.model.bias(rows), adapter.model.bias(rows))  # type: ignore[misc]
    assert torch.equal(back.model.users(rows[:8])[6:], adapter.model.users(rows[:8])[6:])


def trained_by_peft(base: Base, folder: Path, **options: Any) -> BaseModel:
    """Five steps of Adam on some pairs, saved to the folder."""
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = peft.get_peft_model(fresh(base), peft.LoraConfig(**options))
    model: BaseModel = whole.base_model.model
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    users, items = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 3])
    for _ in range(5):
        optimizer.zero_grad()
        (model.score(users, items) * torch.tensor([1.0, -1.0, 1.0, 1.0])).sum().backward()
        optimizer.step()
    whole.save_pretrained(str(folder))
    return model.requires_grad_(False)
