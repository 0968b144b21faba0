"""An adapter written into a copy of its base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_adapters import DIM, Build, adapter_of, adapters, as_towers

from lorarec.errors import AdapterMismatchError
from lorarec.lora.adapter import load_adapter, save_adapter
from lorarec.lora.merging import merged_base
from lorarec.models.artefact import Base, DomainBiases, load_base, save_base, weights_digest
from lorarec.record import FORMAT
from lorarec.storage import read_json

several = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["cosine", "dot", "no bias", "towers", "mean", "attention"])
def base(base_maker: Callable[..., Any], request: pytest.FixtureRequest) -> Base:
    kind = request.param
    plain: Base = base_maker("dot" if kind == "dot" else "cosine", kind != "no bias")
    if kind in ("towers", "mean", "attention"):
        return as_towers(plain, "none" if kind == "towers" else kind)
    return plain


@several
@given(build=adapters())
def test_the_merged_base_comes_from_disk_and_scores_as_the_adapter(
    base: Base, tmp_path_factory: pytest.TempPathFactory, build: Build
) -> None:
    adapter, folder = build(base), tmp_path_factory.mktemp("merged")
    save_base(merged_base(base, adapter), folder)
    found = load_base(folder)
    assert list(found.users.ids) == list(adapter.users.ids)
    assert list(found.items.ids) == list(adapter.items.ids)
    pairs = torch.cartesian_prod(torch.arange(len(found.users)), torch.arange(len(found.items))).T
    expected = adapter.model.score(*pairs)
    assert torch.allclose(found.model.score(*pairs), expected, atol=1e-4, rtol=1e-5)


@several
@given(build=adapters())
def test_merging_leaves_the_base_and_the_adapter_to_the_bit(base: Base, build: Build) -> None:
    adapter = build(base)
    pairs = torch.cartesian_prod(torch.arange(len(adapter.users)), torch.arange(8)).T
    before, digest = adapter.model.score(*pairs), base.digest
    merged_base(base, adapter)
    assert torch.equal(adapter.model.score(*pairs), before)
    assert weights_digest(base.model) == digest


def test_the_merged_base_is_another_and_names_both(base: Base, tmp_path: Path) -> None:
    adapter = adapter_of(base, {"items": 2, "users": 1})
    save_base(merged_base(base, adapter), tmp_path)
    info = load_base(tmp_path).info
    assert info.digest != base.digest
    assert info.merged is not None
    assert info.merged.base_digest == base.digest
    assert info.merged.adapter_digest == adapter.info.digest
    assert info.merged.domain == "books"


def test_a_base_with_nothing_merged_has_the_record_it_always_had(
    base: Base, tmp_path: Path
) -> None:
    save_base(base, tmp_path)
    assert "merged" not in read_json(tmp_path / "base.json")
    assert FORMAT == 1


def test_the_adapter_does_not_load_onto_what_it_was_merged_into(base: Base, tmp_path: Path) -> None:
    adapter = adapter_of(base, {"items": 2})
    save_adapter(adapter, tmp_path)
    with pytest.raises(AdapterMismatchError, match=base.digest):
        load_adapter(tmp_path, merged_base(base, adapter))


@given(shift=st.floats(-1, 1, width=32))
@several
def test_a_domain_bias_begins_where_it_did(base: Base, shift: float) -> None:
    rows = np.array([1, 4, 7])
    start = DomainBiases(rows, np.float32([0.5, shift, -0.5]))
    both = replace(base, domain_bias={"books": start, "movies": start})
    found = merged_base(both, adapter_of(base, {"items": DIM}))
    assert list(found.domain_bias) == ["movies"]
    begins = [
        torch.from_numpy(b.domain_bias["movies"].values) + (0 if own is None else own)
        for b in (both, found)
        for own in [b.model.item_bias(torch.from_numpy(rows))]
    ]
    assert torch.allclose(*begins, atol=1e-6)
