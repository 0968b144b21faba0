"""What changes from one adapter to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_adapters import DIM, ITEMS, USERS, Build, adapter_of, adapters, bias_delta, row_deltas

from lorarec.errors import AdapterMismatchError
from lorarec.lora import difference as room
from lorarec.lora.adapter import Adapter
from lorarec.lora.difference import Change, difference
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base

several = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def base(base_maker: Callable[..., Any]) -> Base:
    found: Base = base_maker()
    return found


def changes(a: Adapter, b: Adapter) -> dict[str, Change]:
    return {c.part: c for c in difference(AdapterState.of(a), AdapterState.of(b))}


@several
@given(build=adapters())
def test_an_adapter_does_not_differ_from_itself(base: Base, build: Build) -> None:
    adapter = build(base)
    for change in changes(adapter, adapter).values():
        assert change.only_a == change.only_b == 0
        assert change.mean == pytest.approx(0, abs=1e-6)
        assert change.largest == pytest.approx(0, abs=1e-6)
        assert change.mean_a == change.mean_b


@several
@given(first=adapters(), second=adapters())
def test_rows_differ_by_their_effective_vectors(base: Base, first: Build, second: Build) -> None:
    a, b = first(base), second(base)
    found = changes(a, b)
    for name in ("users", "items"):
        own, other = (set(getattr(x.model, name).rows.tolist()) for x in (a, b))
        either = sorted(own | other)
        if not either:
            assert name not in found
            continue
        apart = (row_deltas(base, a, name) - row_deltas(base, b, name))[either].norm(dim=1)
        change = found[name]
        assert (change.only_a, change.only_b) == (len(own - other), len(other - own))
        assert change.both == len(own & other)
        assert change.mean == pytest.approx(float(apart.mean()), rel=1e-4, abs=1e-5)
        assert change.largest == pytest.approx(float(apart.max()), rel=1e-4, abs=1e-5)


@several
@given(first=adapters(), second=adapters())
def test_transforms_differ_by_the_norms_of_the_dense_matrix(
    base: Base, first: Build, second: Build
) -> None:
    a, b = first(base), second(base)
    unit = torch.eye(DIM)
    dense = (a.model.transform(unit) - b.model.transform(unit)).double()
    change = changes(a, b).get("transform")
    if change is None:
        assert not dense.any()
        return
    assert change.largest == pytest.approx(float(torch.linalg.norm(dense, 2)), abs=1e-4, rel=1e-4)
    assert change.mean == pytest.approx(float(dense.norm()) / DIM**0.5, abs=1e-4, rel=1e-4)


@several
@given(first=adapters(), second=adapters())
def test_biases_differ_over_items_of_either(base: Base, first: Build, second: Build) -> None:
    a, b = first(base), second(base)
    ids = [
        {str(x.items.ids[row]) for row in x.model.bias.rows.tolist()}  # type: ignore[union-attr]
        for x in (a, b)
    ]
    change = changes(a, b).get("bias")
    known = sorted(text for text in ids[0] | ids[1] if text in set(base.items.ids))
    if change is None:
        assert not ids[0] | ids[1]
        return
    assert (change.only_a, change.only_b) == (len(ids[0] - ids[1]), len(ids[1] - ids[0]))
    if known:
        apart = (bias_delta(base, a, known) - bias_delta(base, b, known)).abs()
        assert change.largest >= float(apart.max()) - 1e-5


@several
@given(first=adapters(), second=adapters())
def test_grown_rows_are_compared_by_id(base: Base, first: Build, second: Build) -> None:
    a, b = first(base), second(base)
    own, other = (set(x.users.ids[USERS:]) for x in (a, b))
    change = changes(a, b).get("grown users")
    if change is None:
        assert not own | other
        return
    both = sorted(own & other)
    assert (change.only_a, change.both) == (len(own - other), len(both))
    vectors = [x.model.users(torch.from_numpy(x.users.rows(both))) for x in (a, b)]
    apart = (vectors[0] - vectors[1]).norm(dim=1)
    assert change.largest == pytest.approx(float(apart.max()) if both else 0.0)


def test_blocks_change_nothing(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = adapter_of(base, {"items": 2, "users": 1}, 1), adapter_of(base, {"items": 3}, 2)
    whole = changes(*pair)
    monkeypatch.setattr(room, "BLOCK", 3)
    assert ITEMS > 2 * 3
    for part, change in changes(*pair).items():
        assert change.mean == pytest.approx(whole[part].mean)
        assert change.largest == pytest.approx(whole[part].largest)


def test_adapters_of_two_bases_are_refused(base: Base, base_maker: Callable[..., Any]) -> None:
    other = base_maker(bias=False)
    with pytest.raises(AdapterMismatchError, match=other.digest):
        changes(adapter_of(base, {"items": 2}), adapter_of(other, {"items": 2}))
