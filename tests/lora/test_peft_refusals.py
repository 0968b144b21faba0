"""What PEFT cannot hold, and what a folder of PEFT's may hold that lorarec cannot: said by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_adapters import adapter_of

from lorarec.errors import AdapterMismatchError, ArtifactError, ConfigError
from lorarec.lora.adapter import Adapter
from lorarec.lora.peft_export import peft_export, save_peft
from lorarec.lora.peft_import import from_peft
from lorarec.lora.peft_reading import read_peft
from lorarec.models.artefact import Base
from lorarec.storage import read_tensors, write_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ITEMS_A, ITEMS_B = (f"base_model.model.items.lora_embedding_{part}" for part in "AB")


@pytest.fixture
def written(base: Base, tmp_path: Path) -> Path:
    """An export of rows of items, with its note."""
    save_peft(peft_export(base, adapter_of(base, {"items": 2}), "drop"), tmp_path)
    return tmp_path


@pytest.fixture
def foreign(written: Path) -> Path:
    """The same as PEFT would have saved it: without a note."""
    (written / "lorarec.json").unlink()
    return written


def configured(folder: Path, **values: Any) -> Path:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def rewritten(folder: Path, **arrays: Any) -> Path:
    """The weights with other arrays of items' A and B, or more by full name; None takes one out."""
    found: dict[str, Any] = dict(read_tensors(folder / WEIGHTS))
    known = {"a": ITEMS_A, "b": ITEMS_B}
    found |= {known.get(name, name): array for name, array in arrays.items()}
    write_tensors(folder / WEIGHTS, {n: a for n, a in found.items() if a is not None})
    return folder


def test_bias_and_grown_rows_are_never_lost_silently(base: Base, adapter: Adapter) -> None:
    with pytest.raises(ConfigError) as refused:
        peft_export(base, adapter)
    for part in ("the item bias (7)", "grown users (2)", "grown items (3)", "--rest beside"):
        assert part in str(refused.value)


def test_what_is_dropped_is_named_in_the_folder(
    base: Base, adapter: Adapter, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    save_peft(peft_export(base, adapter, "drop"), out)
    assert sorted(file.name for file in out.iterdir()) == [CONFIG, WEIGHTS, "lorarec.json"]
    note = read_peft(out).note
    assert note is not None
    assert note.left_out == {"bias": 7, "grown users": 2, "grown items": 3}


def test_full_fine_tuning_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match="lorarec adapters truncate"):
        peft_export(base, adapter_of(base, {}, kind="full"), "drop")


def test_values_that_are_no_factors_are_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match=r"values of its own \(users:full,items:2,bias\)"):
        peft_export(base, adapter_of(base, {"items": 2}, whole=("users",)), "drop")


def test_an_adapter_that_moves_no_module_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match=r"moves no row and no layer \(the item bias \(8\)\)"):
        peft_export(base, adapter_of(base, {}), "drop")


def test_an_adapter_of_a_base_that_has_gained_rows_is_refused(
    base_maker: Callable[..., Any], base: Base
) -> None:
    longer = base_maker(users=9)
    with pytest.raises(ConfigError, match=r"gained rows .*users \(3\)"):
        peft_export(longer, adapter_of(base, {"items": 2}), "drop")


def test_another_base_of_the_same_shapes_is_refused_with_both_digests(
    base_maker: Callable[..., Any], base: Base, written: Path
) -> None:
    other = base_maker("dot")
    with pytest.raises(AdapterMismatchError) as refused:
        from_peft(other, read_peft(written), "books")
    assert base.digest in str(refused.value)
    assert other.digest in str(refused.value)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_file_that_changed_since_the_export_is_refused(written: Path, name: str) -> None:
    if name == CONFIG:
        configured(written, lora_alpha=9)
    else:
        rewritten(written, a=np.ones((2, 8), np.float32))
    with pytest.raises(ArtifactError, match=f"{name} has changed since lorarec exported it"):
        read_peft(written)


def test_an_edited_note_is_refused(written: Path) -> None:
    path = written / "lorarec.json"
    path.write_text(path.read_text().replace('"users": 6', '"users": 5'))
    with pytest.raises(ArtifactError, match="record_digest"):
        read_peft(written)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"peft_type": "LOHA"}, "peft_type 'LOHA'"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias 'all'"),
        ({"modules_to_save": ["head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"alpha_pattern": {"it.*": 2}}, "regular expression 'it.*'"),
        ({"r": 0}, "r: "),
        ({"lora_alpha": "much"}, "lora_alpha: "),
    ],
)
def test_a_config_of_more_than_lora_is_refused_by_name(
    foreign: Path, values: dict[str, Any], told: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        read_peft(configured(foreign, **values))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"b": None}, "of items. Expected"),
        ({"a": np.ones((3, 8), np.float32)}, "of items. Expected"),
        ({"a": np.full((2, 8), np.nan, np.float32)}, "not finite"),
        ({"base_model.model.items.lora_magnitude_vector": np.ones(4)}, "lora_magnitude_vector"),
        ({"base_model.model.head.weight": np.ones((4, 4), np.float32)}, "head.weight (4, 4)"),
    ],
)
def test_weights_of_more_or_less_than_lora_are_refused(
    foreign: Path, arrays: dict[str, Any], told: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        read_peft(rewritten(foreign, **arrays))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "shapes", [((2, 7), (4, 2)), ((2, 9), (4, 2)), ((2, 8), (5, 2)), ((4, 2), (2, 8))]
)
def test_other_shapes_than_the_bases_are_refused(
    base: Base, foreign: Path, shapes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    a, b = (np.ones(shape, np.float32) for shape in shapes)
    with pytest.raises((AdapterMismatchError, ArtifactError), match="Expected"):
        from_peft(base, read_peft(rewritten(foreign, a=a, b=b)), "books")


def test_a_module_that_the_base_lacks_is_refused_and_can_be_named(
    base: Base, foreign: Path
) -> None:
    arrays = read_tensors(foreign / WEIGHTS)
    other = {name.replace(".items.", ".song.table."): a for name, a in arrays.items()}
    write_tensors(foreign / WEIGHTS, other)
    folder = read_peft(foreign)
    with pytest.raises(ConfigError, match=r"moves song\.table, an embedding"):
        from_peft(base, folder, "books")
    assert from_peft(base, folder, "books", {"items": "song.table"}).info.config.ranks == {
        "items": 2
    }
    with pytest.raises(ConfigError, match=r"no module 'song'.* Did you mean 'song\.table'"):
        from_peft(base, folder, "books", {"items": "song"})
    with pytest.raises(ConfigError, match="Did you mean 'items'"):
        from_peft(base, folder, "books", {"item": "song.table"})


def test_an_untrained_adapter_is_refused(base: Base, foreign: Path) -> None:
    with pytest.raises(ConfigError, match="moves nothing"):
        from_peft(base, read_peft(rewritten(foreign, a=np.zeros((2, 8), np.float32))), "books")


def test_a_pickle_is_not_opened(foreign: Path) -> None:
    (foreign / WEIGHTS).unlink()
    (foreign / "adapter_model.bin").write_bytes(b"anything")
    with pytest.raises(ArtifactError, match="pickle"):
        read_peft(foreign)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_file_that_is_missing_or_cut_is_named(foreign: Path, name: str) -> None:
    path = foreign / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match=name):
        read_peft(foreign)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        read_peft(foreign)
