from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lorarec.errors import ArtifactError
from lorarec.models.artefact import (
    Base,
    DomainBiases,
    load_base,
    save_base,
    weights_digest,
    weights_of,
)
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.record import FORMAT, sealed
from lorarec.storage import read_json, read_tensors, sha256_file, write_json, write_tensors

FILES = ("base.safetensors", "base.json", "users.parquet", "items.parquet")


@pytest.fixture
def base(base_maker: Callable[..., Any]) -> Base:
    found: Base = base_maker()
    return found


@pytest.fixture
def folder(tmp_path: Path, base: Base) -> Path:
    save_base(base, tmp_path)
    return tmp_path


def edit_json(folder: Path, **changes: object) -> None:
    """Change metadata and seal it anew, so that only the checks behind the seal can tell."""
    path = folder / "base.json"
    write_json(path, sealed(read_json(path) | changes))


def edit_tensors(folder: Path, **changes: np.ndarray) -> None:
    """Change tensors and make base.json agree with the new file."""
    path = folder / "base.safetensors"
    write_tensors(path, read_tensors(path) | changes)
    edit_json(folder, weights_digest=sha256_file(path))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_round_trip_is_exact(
    tmp_path: Path, base_maker: Callable[..., Any], similarity: str, bias: bool
) -> None:
    base = base_maker(similarity, bias)
    save_base(base, tmp_path)
    loaded = load_base(tmp_path)
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(8)).T
    assert torch.equal(loaded.model.score(*pairs), base.model.score(*pairs))
    assert loaded.users == base.users
    assert loaded.items == base.items
    assert loaded.digest == base.digest


def test_metadata_survives_a_round_trip(folder: Path, base: Base) -> None:
    weights = sha256_file(folder / "base.safetensors")
    assert load_base(folder).info == base.info.model_copy(update={"weights_digest": weights})


def test_what_is_loaded_is_frozen(folder: Path) -> None:
    assert not any(p.requires_grad for p in load_base(folder).model.parameters())


def test_only_the_four_files_are_written(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_base(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str, share: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError, match=name):
        load_base(folder)


def test_one_flipped_bit_of_the_weights_is_refused(folder: Path) -> None:
    path = folder / "base.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="truncated or edited"):
        load_base(folder)


def test_weights_edited_together_with_their_digest_are_refused(folder: Path) -> None:
    edit_tensors(folder, items=np.ones((8, 4), np.float32))
    with pytest.raises(ArtifactError, match="edited"):
        load_base(folder)


def test_a_number_that_is_none_is_refused(folder: Path) -> None:
    edit_tensors(folder, items=np.full((8, 4), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="finite"):
        load_base(folder)


def test_tables_of_another_shape_are_refused_with_both_shapes(folder: Path) -> None:
    edit_tensors(folder, items=np.ones((7, 4), np.float32))
    with pytest.raises(ArtifactError, match=r"\(7, 4\).*\(8, 4\)"):
        load_base(folder)


@pytest.mark.parametrize("change", [{"temperature": 0.3}, {"similarity": "dot"}])
def test_an_edited_way_to_score_is_refused(folder: Path, change: dict[str, object]) -> None:
    edit_json(folder, **change)
    with pytest.raises(ArtifactError, match="edited"):
        load_base(folder)


def test_vocabularies_in_each_other_s_place_are_refused(folder: Path) -> None:
    (folder / "users.parquet").write_bytes((folder / "items.parquet").read_bytes())
    with pytest.raises(ArtifactError, match=r"users\.parquet"):
        load_base(folder)


def test_a_newer_format_is_refused_with_the_command_to_update(folder: Path) -> None:
    edit_json(folder, format_version=FORMAT + 1)
    with pytest.raises(ArtifactError, match="pip install --upgrade lorarec"):
        load_base(folder)


def test_an_unknown_key_is_refused_by_name(folder: Path) -> None:
    edit_json(folder, colour="red")
    with pytest.raises(ArtifactError, match="colour"):
        load_base(folder)


@pytest.mark.parametrize("text", ["[]", "{}", "null", "3"])
def test_json_of_another_kind_is_refused(folder: Path, text: str) -> None:
    (folder / "base.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"base\.json"):
        load_base(folder)


def test_the_digest_tells_one_changed_number() -> None:
    first = MatrixFactorization.create(3, 3, 2)
    second = MatrixFactorization.create(3, 3, 2)
    assert weights_digest(first) == weights_digest(second)
    with torch.no_grad():
        second.tables()["items"][2, 1] += 1e-6
    assert weights_digest(first) != weights_digest(second)


def test_the_digest_tells_users_from_items() -> None:
    one, two = torch.ones(2, 2), torch.zeros(2, 2)
    first = MatrixFactorization.from_tables(one, two, "dot", 1.0)
    second = MatrixFactorization.from_tables(two, one, "dot", 1.0)
    assert weights_digest(first) != weights_digest(second)


def test_the_digest_tells_the_temperature() -> None:
    table = torch.ones(2, 2)
    models = [MatrixFactorization.from_tables(table, table, "cosine", t) for t in (0.1, 0.2)]
    assert weights_digest(models[0]) != weights_digest(models[1])


def test_weights_are_float32_arrays_of_every_table(base: Base) -> None:
    found = weights_of(base.model)
    assert {name: (a.shape, a.dtype.name) for name, a in found.items()} == {
        "users": ((6, 4), "float32"),
        "items": ((8, 4), "float32"),
        "bias": ((8, 1), "float32"),
    }


def test_the_domains_biases_survive_a_round_trip(tmp_path: Path, base: Base) -> None:
    learnt = DomainBiases(np.array([1, 4]), np.array([0.5, -0.25], np.float32))
    save_base(replace(base, domain_bias={"bücher.a": learnt}), tmp_path)
    (name, found), *more = load_base(tmp_path).domain_bias.items()
    assert (name, more) == ("bücher.a", [])
    assert found.rows.tolist() == [1, 4]
    assert found.values.tolist() == [0.5, -0.25]
