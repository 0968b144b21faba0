"""A base of two towers on disk: exact, complete, and refused where it was edited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse

from lorarec.data.features import FeatureEncoder, FeatureSpec
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError
from lorarec.models.artefact import (
    Base,
    FeaturesInfo,
    SideFeatures,
    load_base,
    save_base,
    weights_digest,
    weights_of,
)
from lorarec.models.base import ItemBias, plain_tables, table_of
from lorarec.models.features import FeatureEmbedding
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.record import sealed
from lorarec.storage import read_json, read_tensors, sha256_file, write_json, write_tensors

CONFIG = TowerConfig(layers=(5,), dropout=0.1, history="attention")
PAIRS = torch.cartesian_prod(torch.arange(6), torch.arange(8)).T


@pytest.fixture
def base(base_maker) -> Base:  # type: ignore[no-untyped-def]
    """Six users with a history, eight items with features, one more described."""
    plain: Base = base_maker()
    frame = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(9)],
            "kind.of": ["a", "b", "a", "b", "a", "b", "a", "b", "a"],
            "tags": [["x", "y"], ["x"], [], ["y"], None, ["x"], ["y"], ["x"], ["y"]],
            "price": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            "text": [[1.0, float(n)] for n in range(9)],
        }
    )
    specs = [
        FeatureSpec(name="kind.of", kind="categorical"),
        FeatureSpec(name="tags", kind="categories"),
        FeatureSpec(name="price", kind="numeric"),
        FeatureSpec(name="text", kind="vector", dim=2),
    ]
    encoder = FeatureEncoder.fit(frame, "item_id", plain.items.series, specs)
    ids = pl.Series([*(f"i{n}" for n in range(9)), None], dtype=pl.String)
    table = encoder.transform(frame, ids)
    draw = np.random.default_rng(0)
    tables = plain.model.tables()  # type: ignore[union-attr]
    model = TwoTower.from_tables(
        tables["users"],
        tables["items"],
        "cosine",
        0.2,
        CONFIG,
        sparse.csr_matrix(draw.integers(0, 2, (6, 8))),
        item_features=FeatureEmbedding(table, encoder.sizes, 4),
        bias=tables["bias"],
    ).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name not in ("users.weight", "items.weight"):
            parameter.add_(torch.from_numpy(draw.normal(size=parameter.shape).astype(np.float32)))
    features = SideFeatures(encoder, Vocabulary(["i8"]))
    info = plain.info.model_copy(
        update={
            "model": "two-tower",
            "tower": CONFIG,
            "digest": weights_digest(model),
            "features": {
                "items": FeaturesInfo(
                    path="items.parquet",
                    digest=encoder.digest(),
                    described=1,
                    vocabulary=features.described.digest(),
                )
            },
        }
    )
    return Base(model, plain.users, plain.items, info, {}, {"items": features})


@pytest.fixture
def folder(tmp_path: Path, base: Base) -> Path:
    save_base(base, tmp_path)
    return tmp_path


def edit(folder: Path, **changes: np.ndarray) -> None:
    """Change tensors and make base.json agree with the new file."""
    path = folder / "base.safetensors"
    write_tensors(path, read_tensors(path) | {n.replace("__", "."): a for n, a in changes.items()})
    record = read_json(folder / "base.json") | {"weights_digest": sha256_file(path)}
    write_json(folder / "base.json", sealed(record))


def test_a_round_trip_is_exact(folder: Path, base: Base) -> None:
    loaded = load_base(folder)
    assert torch.equal(loaded.model.score(*PAIRS), base.model.score(*PAIRS))
    assert loaded.digest == base.digest
    assert loaded.features["items"].described == base.features["items"].described
    assert loaded.features["items"].encoder.digest() == base.features["items"].encoder.digest()
    assert weights_of(loaded.model).keys() == weights_of(base.model).keys()
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


def test_rows_appended_later_are_their_vectors_alone(
    tmp_path: Path, base: Base, folder: Path
) -> None:
    users, items = torch.ones(1, 4), torch.full((2, 4), 0.5)
    tables = plain_tables(base.model)
    model = base.model.replaced(
        users=table_of(torch.cat([tables["users"], users])),
        items=table_of(torch.cat([tables["items"], items])),
        bias=ItemBias(torch.cat([tables["bias"], torch.zeros(2, 1)])),
    )
    longer = replace(
        base, model=model, users=base.users.extend(["u"]), items=base.items.extend(["x", "y"])
    )
    place = tmp_path / "longer"
    place.mkdir()
    save_base(longer, place)
    loaded = load_base(place)
    assert loaded.digest == base.digest
    assert torch.equal(loaded.model.score(*PAIRS), base.model.score(*PAIRS))
    assert torch.equal(loaded.model.user_inputs(torch.tensor([6])), users)
    assert torch.equal(loaded.model.item_inputs(torch.tensor([8, 9])), items)


def test_a_described_item_has_its_features_after_a_round_trip(folder: Path, base: Base) -> None:
    place = torch.tensor([8])
    found, before = (b.model.item_tower.features(place) for b in (load_base(folder), base))  # type: ignore[union-attr,misc]
    assert torch.equal(found, before)


@pytest.mark.parametrize(
    "name",
    ["described_items.parquet", "item_features/features.json", "item_features/categories.parquet"],
)
def test_a_missing_file_of_the_features_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=Path(name).name):
        load_base(folder)


@pytest.mark.parametrize(
    "name", ["history.items", "item_tower.features.parts.0_kind_of.codes", "transform.weight"]
)
def test_what_was_edited_is_refused(folder: Path, name: str) -> None:
    array = read_tensors(folder / "base.safetensors")[name].copy()
    array.flat[0] = array.flat[0] + 1 if array.dtype == np.float32 else 99
    edit(folder, **{name: array})
    with pytest.raises(ArtifactError, match="edited"):
        load_base(folder)


def test_one_edited_code_within_bounds_changes_the_digest(folder: Path) -> None:
    name = "item_tower.features.parts.0_kind_of.codes"
    array = read_tensors(folder / "base.safetensors")[name].copy()
    array[0] = 0
    edit(folder, **{name: array})
    with pytest.raises(ArtifactError, match="digest"):
        load_base(folder)


def test_another_shape_of_the_towers_is_refused(folder: Path) -> None:
    record = read_json(folder / "base.json")
    record["tower"]["layers"] = [6]
    write_json(folder / "base.json", sealed(record))
    with pytest.raises(ArtifactError, match=r"user_tower|item_tower"):
        load_base(folder)


def test_a_number_that_is_none_is_refused(folder: Path) -> None:
    edit(folder, transform__weight=np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="finite"):
        load_base(folder)


def test_what_is_dropped_in_training_is_not_in_the_digest(base: Base) -> None:
    assert isinstance(base.model, TwoTower)
    before = weights_digest(base.model)
    base.model.config = CONFIG.model_copy(update={"dropout": 0.5})
    assert weights_digest(base.model) == before
    base.model.config = CONFIG.model_copy(update={"history_power": 0.7})
    assert weights_digest(base.model) != before


def test_the_digest_of_a_matrix_factorization_is_what_it_ever_was() -> None:
    tables = (torch.ones(2, 2), torch.zeros(3, 2))
    model = MatrixFactorization.from_tables(*tables, "cosine", 0.2, torch.ones(3, 1))
    known = "31c8b5223ae43cd5810c1704bd5ebe79e2c4e4780ca5365f9c0d6f4d28309a16"
    assert weights_digest(model) == known
