"""Fewer bytes for an adapter's numbers: one loss, stated, and none after that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from random_adapters import Build, adapters

from lorarec.errors import ArtifactError, ConfigError
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.attach import adapter_state
from lorarec.lora.derived import quantized
from lorarec.lora.quantization import Storage, packed, rounded, unpacked
from lorarec.models.artefact import Base
from lorarec.record import sealed
from lorarec.storage import read_json, read_tensors, sha256_file, write_json, write_tensors

several = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
small = st.sampled_from(["fp16", "int8"])
factors = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 5), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)
)


@several
@given(array=arrays.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**90), 2.0**90, width=32)))
def test_eight_bits_are_off_by_less_than_a_127th_of_the_rows_largest(array: Any) -> None:
    found = rounded({"users.a": array}, "int8")["users.a"]
    allowed = np.abs(array).max(axis=1, keepdims=True).astype(np.float64) / 127
    assert (np.abs(found.astype(np.float64) - array) <= allowed + 2.0**-126).all()


@several
@given(array=factors)
def test_a_half_is_off_by_less_than_a_2048th(array: Any) -> None:
    found = rounded({"users.b": array}, "fp16")["users.b"]
    assert (np.abs(found - array) <= np.abs(array) / 2048 + 2.0**-24).all()


@several
@given(array=factors, storage=small)
def test_rounding_twice_is_rounding_once(array: Any, storage: Storage) -> None:
    state = {"items.a": array, "items.b": array, "items.rows": np.arange(len(array))}
    once = rounded(state, storage)
    twice = rounded(once, storage)
    assert all(once[name].tobytes() == twice[name].tobytes() for name in state)
    assert unpacked(packed(once, storage), storage).keys() == state.keys()


def test_rows_are_never_rounded() -> None:
    rows = np.array([1, 2**24 + 1, 2**40 + 1])
    assert rounded({"users.rows": rows}, "int8")["users.rows"].tolist() == rows.tolist()


@several
@given(build=adapters(), storage=small)
def test_a_quantized_adapter_comes_back_from_disk_to_the_bit(
    base: Base, tmp_path_factory: pytest.TempPathFactory, build: Build, storage: Storage
) -> None:
    found = quantized(base, build(base), storage)
    first, second = (tmp_path_factory.mktemp("quantized") for _ in range(2))
    save_adapter(found, first)
    loaded = load_adapter(first, base)
    state, again = adapter_state(found.model), adapter_state(loaded.model)
    assert all(torch.equal(state[name], again[name]) for name in state)
    save_adapter(loaded, second)
    for name in ("adapter.safetensors", "adapter.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_file_has_the_types_that_its_storage_says(
    base: Base, adapter: Adapter, tmp_path: Path
) -> None:
    save_adapter(quantized(base, adapter, "int8"), tmp_path)
    types = {n: str(a.dtype) for n, a in read_tensors(tmp_path / "adapter.safetensors").items()}
    assert types["items.a"] == types["items.a.exponent"] == "int8"
    assert types["items.rows"] == "int32"
    assert types["items.b"] == types["items.grown"] == types["bias.b"] == "float16"
    assert read_json(tmp_path / "adapter.json")["storage"] == "int8"


def test_an_adapter_in_fp32_has_the_record_it_always_had(
    base: Base, adapter: Adapter, tmp_path: Path
) -> None:
    save_adapter(adapter, tmp_path)
    assert {"storage", "made_of"}.isdisjoint(read_json(tmp_path / "adapter.json"))


def test_numbers_that_were_not_rounded_are_not_packed() -> None:
    with pytest.raises(ValueError, match=r"users\.b.*fp16"):
        packed({"users.b": np.float32([[0.1]])}, "fp16")


def test_a_number_too_large_for_a_half_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bias\.b has a number of 70000.*65504"):
        rounded({"bias.b": np.float32([[70000.0]])}, "fp16")


def _edited(folder: Path, **changes: np.ndarray | None) -> None:
    path = folder / "adapter.safetensors"
    tensors = {n: a for n, a in (read_tensors(path) | changes).items() if a is not None}
    write_tensors(path, tensors)
    values = read_json(folder / "adapter.json") | {"weights_digest": sha256_file(path)}
    write_json(folder / "adapter.json", sealed(values))


@pytest.fixture
def eight_bits(base: Base, adapter: Adapter, tmp_path: Path) -> Path:
    save_adapter(quantized(base, adapter, "int8"), tmp_path)
    return tmp_path


@pytest.mark.parametrize("exponent", [None, np.zeros(2, np.int8), np.zeros(4, np.float32)])
def test_eight_bits_without_their_exponents_are_refused(
    eight_bits: Path, base: Base, exponent: np.ndarray | None
) -> None:
    _edited(eight_bits, **{"items.a.exponent": exponent})
    with pytest.raises(ArtifactError, match=r"items\.a.*exponent"):
        load_adapter(eight_bits, base)


def test_other_exponents_are_another_adapter(eight_bits: Path, base: Base) -> None:
    _edited(eight_bits, **{"items.a.exponent": np.zeros(4, np.int8)})
    with pytest.raises(ArtifactError, match="digest"):
        load_adapter(eight_bits, base)


def test_an_edited_storage_is_refused(eight_bits: Path, base: Base) -> None:
    values = read_json(eight_bits / "adapter.json") | {"storage": "int4"}
    write_json(eight_bits / "adapter.json", sealed(values))
    with pytest.raises(ArtifactError, match="storage"):
        load_adapter(eight_bits, base)
