from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import NEW_ITEMS, NEW_USERS, made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, ArtifactError
from lorarec.lora.adapter import (
    Adapter,
    adapter_digest,
    grown_ids,
    load_adapter,
    save_adapter,
)
from lorarec.lora.attach import Touched, attach
from lorarec.lora.config import full_config, lora_config
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel
from lorarec.record import FORMAT, sealed
from lorarec.storage import read_json, read_tensors, sha256_file, write_json, write_tensors


def edit_json(folder: Path, **changes: object) -> None:
    """Change metadata and seal it anew, so that only the checks behind the seal can tell."""
    path = folder / "adapter.json"
    write_json(path, sealed(read_json(path) | changes))


def edit_tensors(folder: Path, **changes: np.ndarray) -> None:
    """Change tensors and make adapter.json agree with the new file."""
    path = folder / "adapter.safetensors"
    write_tensors(path, read_tensors(path) | changes)
    edit_json(folder, weights_digest=sha256_file(path))


def test_a_round_trip_scores_to_the_bit(
    folder: Path, base: Base, adapter: Adapter, all_pairs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    loaded = load_adapter(folder, base)
    assert torch.equal(loaded.model.score(*all_pairs), adapter.model.score(*all_pairs))


@pytest.mark.parametrize("targets", [None, "items:2", "bias", "transform"])
def test_a_second_round_trip_writes_the_same_bytes(
    tmp_path: Path, base: Base, touched: Touched, targets: str | None
) -> None:
    config = lora_config(2, 4, targets)
    first, second = tmp_path / "1", tmp_path / "2"
    for path in (first, second):
        path.mkdir()
    save_adapter(made(base, attach(base.model, config, touched), config), first)
    save_adapter(load_adapter(first, base), second)
    for name in ("adapter.safetensors", "adapter.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_full_fine_tuning_survives_a_round_trip(
    tmp_path: Path,
    base: Base,
    touched: Touched,
    train_a_bit: Callable[[BaseModel], BaseModel],
    all_pairs: tuple[torch.Tensor, torch.Tensor],
) -> None:
    model = train_a_bit(attach(base.model, full_config(), touched))
    save_adapter(made(base, model, full_config()), tmp_path)
    loaded = load_adapter(tmp_path, base).model
    assert torch.equal(loaded.score(*all_pairs), model.score(*all_pairs))


def test_grown_rows_come_back_with_their_ids(folder: Path, base: Base, adapter: Adapter) -> None:
    loaded = load_adapter(folder, base)
    assert list(loaded.users.ids) == [*base.users.ids, *NEW_USERS]
    assert list(loaded.items.ids) == [*base.items.ids, *NEW_ITEMS]
    rows = torch.from_numpy(loaded.items.rows(["ключ 1"]))
    assert torch.equal(loaded.model.items(rows), adapter.model.items(torch.tensor([9])))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(ids=st.lists(st.text(st.characters(codec="utf-8")), unique=True, max_size=6))
def test_any_new_ids_survive_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, base: Base, ids: list[str]
) -> None:
    ids = [name for name in ids if name not in set(base.users.ids)]
    none, config = torch.empty(0, dtype=torch.int64), lora_config(1, 4, "transform")
    touched = Touched(none, none, torch.ones(len(ids), 4), torch.empty(0, 4), none)
    adapter = made(base, attach(base.model, config, touched), config, ids, [])
    folder = tmp_path_factory.mktemp("ids")
    save_adapter(adapter, folder)
    assert grown_ids(load_adapter(folder, base).users, len(base.users)) == ids


def test_metadata_survives_a_round_trip(folder: Path, base: Base, adapter: Adapter) -> None:
    found = load_adapter(folder, base).info
    weights = sha256_file(folder / "adapter.safetensors")
    assert found == adapter.info.model_copy(update={"weights_digest": weights})


def test_only_touched_rows_are_stored(folder: Path) -> None:
    tensors = read_tensors(folder / "adapter.safetensors")
    assert tensors["users.a"].shape == (3, 1)
    assert tensors["users.rows"].tolist() == [0, 2, 5]
    assert tensors["items.a"].shape == (4, 3)


def test_what_is_loaded_is_frozen(folder: Path, base: Base) -> None:
    assert not any(p.requires_grad for p in load_adapter(folder, base).model.parameters())


def test_no_pickle_lies_in_the_folder(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"adapter.safetensors", "adapter.json"}


def test_another_base_is_refused_with_both_digests(
    folder: Path, base: Base, base_maker: Callable[..., Any]
) -> None:
    other = base_maker(bias=False)
    with pytest.raises(AdapterMismatchError) as refused:
        load_adapter(folder, other)
    assert base.digest in str(refused.value)
    assert other.digest in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_base_of_other_ids_is_refused(folder: Path, base: Base) -> None:
    renamed = replace(base, users=Vocabulary([f"x{n}" for n in range(6)]))
    with pytest.raises(AdapterMismatchError, match=r"users .* do not begin"):
        load_adapter(folder, renamed)


def test_a_base_with_fewer_items_is_refused(folder: Path, base: Base) -> None:
    shorter = replace(base, items=Vocabulary(base.items.ids[:5]))
    with pytest.raises(AdapterMismatchError, match=r"items .* do not begin"):
        load_adapter(folder, shorter)


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.json"])
def test_a_missing_file_is_named(folder: Path, base: Base, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_adapter(folder, base)


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder: Path, base: Base, name: str, share: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError, match=name):
        load_adapter(folder, base)


def test_one_flipped_bit_of_the_weights_is_refused(folder: Path, base: Base) -> None:
    path = folder / "adapter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="truncated or edited"):
        load_adapter(folder, base)


def test_weights_edited_together_with_their_digest_are_refused(folder: Path, base: Base) -> None:
    edit_tensors(folder, **{"users.b": np.ones((1, 4), np.float32)})
    with pytest.raises(ArtifactError, match="edited"):
        load_adapter(folder, base)


@pytest.mark.parametrize("name", ["users.a", "items.grown", "bias.b", "bias.cold"])
def test_a_number_that_is_none_is_refused(folder: Path, base: Base, name: str) -> None:
    tensor = read_tensors(folder / "adapter.safetensors")[name].copy()
    tensor.reshape(-1)[0] = np.nan
    edit_tensors(folder, **{name: tensor})
    with pytest.raises(AdapterMismatchError, match=f"not finite.*{name}"):
        load_adapter(folder, base)


def test_an_edited_alpha_is_refused(folder: Path, base: Base, adapter: Adapter) -> None:
    edit_json(folder, config=adapter.info.config.model_dump() | {"alpha": 3.0})
    with pytest.raises(ArtifactError, match="edited"):
        load_adapter(folder, base)


def test_an_edited_rank_is_refused(folder: Path, base: Base, adapter: Adapter) -> None:
    ranks = {"users": 2, "items": 3, "transform": 2}
    edit_json(folder, config=adapter.info.config.model_dump() | {"ranks": ranks})
    with pytest.raises(AdapterMismatchError, match=r"users\.a"):
        load_adapter(folder, base)


@pytest.mark.parametrize("rank", [-1, 0])
def test_a_rank_that_cannot_be_is_refused(
    folder: Path, base: Base, adapter: Adapter, rank: int
) -> None:
    edit_json(folder, config=adapter.info.config.model_dump() | {"ranks": {"users": rank}})
    with pytest.raises(ArtifactError, match="ranks"):
        load_adapter(folder, base)


def test_renamed_grown_ids_are_refused(folder: Path, base: Base) -> None:
    name = "users.grown_ids.bytes"
    found = read_tensors(folder / "adapter.safetensors")[name].copy()
    found[0] = ord("X")
    edit_tensors(folder, **{name: found})
    with pytest.raises(ArtifactError, match="edited"):
        load_adapter(folder, base)


def test_missing_grown_ids_are_refused(folder: Path, base: Base) -> None:
    path = folder / "adapter.safetensors"
    tensors = read_tensors(path)
    del tensors["items.grown_ids.ends"]
    write_tensors(path, tensors)
    edit_json(folder, weights_digest=sha256_file(path))
    with pytest.raises(ArtifactError, match="ids of grown rows"):
        load_adapter(folder, base)


def test_another_split_than_the_bases_is_refused(folder: Path, base: Base) -> None:
    edit_json(folder, split=base.info.split.model_dump() | {"t_test": 5})
    with pytest.raises(AdapterMismatchError, match="test from 5") as refused:
        load_adapter(folder, base)
    assert "test from None" in str(refused.value)


def test_a_newer_format_is_refused_with_the_command_to_update(folder: Path, base: Base) -> None:
    edit_json(folder, format_version=FORMAT + 1)
    with pytest.raises(ArtifactError, match="pip install --upgrade lorarec"):
        load_adapter(folder, base)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"domain": "books"}', "{'domain'}"])
def test_json_of_another_kind_is_refused(folder: Path, base: Base, text: str) -> None:
    (folder / "adapter.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"adapter\.json"):
        load_adapter(folder, base)


def test_an_unknown_key_is_refused_by_name(folder: Path, base: Base) -> None:
    edit_json(folder, champion=True)
    with pytest.raises(ArtifactError, match="champion"):
        load_adapter(folder, base)


def test_the_digest_tells_the_order_of_grown_ids(base: Base, adapter: Adapter) -> None:
    model = adapter.model
    assert adapter_digest(model, (["a", "b"], [])) != adapter_digest(model, (["b", "a"], []))
    assert adapter_digest(model, (["ab"], [])) != adapter_digest(model, (["a", "b"], []))
