"""Adapters and bases without some ids: nobody else moves by a bit, and all of it loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_adapters import IDS, adapter_of, adapters, as_towers
from torch import Tensor

from lorarec.data.forgotten import Forgotten
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, ConfigError
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.derived import quantized
from lorarec.lora.forgetting import rekeyed
from lorarec.lora.quantization import Storage
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base, load_base, save_base
from lorarec.models.base import table_of
from lorarec.models.forgetting import without_ids

few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PEOPLE = st.sets(st.sampled_from([*(f"u{n}" for n in range(6)), *IDS]), max_size=5)
THINGS = st.sets(st.sampled_from([*(f"i{n}" for n in range(8)), *IDS]), max_size=5)


def gone(base: Base, forgotten: Forgotten) -> Base:
    return without_ids(base, forgotten, base.info.data, Path("base"))


def vectors(of: Adapter | Base, forgotten: Forgotten) -> dict[str, dict[str, Tensor]]:
    """Of all who stay, by id."""

    def ids(vocabulary: Vocabulary, side: Any) -> list[str]:
        return [i for i in vocabulary.ids if i is not None and i not in forgotten.ids(side)]

    users, items = ids(of.users, "users"), ids(of.items, "items")
    rows = torch.from_numpy(of.users.rows(users)), torch.from_numpy(of.items.rows(items))
    bias = of.model.item_bias(rows[1])
    return {
        "users": dict(zip(users, of.model.user_vectors(rows[0]), strict=True)),
        "items": dict(zip(items, of.model.item_vectors(rows[1]), strict=True)),
        "bias": {} if bias is None else dict(zip(items, bias, strict=True)),
    }


def same(one: dict[str, dict[str, Tensor]], other: dict[str, dict[str, Tensor]]) -> bool:
    return all(
        one[name].keys() == other[name].keys()
        and all(torch.equal(vector, other[name][key]) for key, vector in one[name].items())
        for name in one
    )


@few
@given(adapters(), PEOPLE, THINGS, st.sampled_from(["cosine", "dot"]))
def test_nobody_else_moves(
    base_maker: Callable[..., Base],
    build: Callable[[Base], Adapter],
    people: set[str],
    things: set[str],
    similarity: str,
) -> None:
    base = base_maker(similarity)
    adapter = build(base)
    forgotten = Forgotten(frozenset(people), frozenset(things))
    now = gone(base, forgotten)
    biased = adapter.items.take(AdapterState.of(adapter).rows("bias").numpy())
    assume(not len(biased) or set(biased) - things)  # else the domain has no item left
    made = rekeyed(base, now, adapter, forgotten, [])
    assert same(vectors(now, forgotten), vectors(base, forgotten))
    assert same(vectors(made, forgotten), vectors(adapter, forgotten))
    assert not set(made.users.series) & people
    assert not set(made.items.series) & things


def test_it_is_read_again_and_on_no_other_base(
    base_maker: Callable[..., Base], tmp_path: Path
) -> None:
    base = base_maker()
    adapter = adapter_of(base, {"users": 2, "items": 1, "transform": 1})
    forgotten = Forgotten.of(["u1"], ["i2"])
    now = gone(base, forgotten)
    made = rekeyed(base, now, adapter, forgotten, [])
    for name in ("base", "adapter"):
        (tmp_path / name).mkdir()
    save_base(now, tmp_path / "base")
    save_adapter(made, tmp_path / "adapter")
    again = load_base(tmp_path / "base")
    assert again.digest == now.digest != base.digest
    assert again.info.forgotten_from == base.digest
    read = load_adapter(tmp_path / "adapter", again)
    assert same(vectors(read, forgotten), vectors(adapter, forgotten))
    with pytest.raises(AdapterMismatchError):
        load_adapter(tmp_path / "adapter", base)


@few
@given(adapters(), PEOPLE)
def test_users_of_towers_with_histories_go_and_nobody_else_moves(
    base_maker: Callable[..., Base], build: Callable[[Base], Adapter], people: set[str]
) -> None:
    base = as_towers(base_maker(), "attention")
    adapter = build(base)
    forgotten = Forgotten(frozenset(people))
    now = gone(base, forgotten)
    made = rekeyed(base, now, adapter, forgotten, [])
    assert same(vectors(made, forgotten), vectors(adapter, forgotten))
    history = now.model.history  # type: ignore[union-attr]
    assert history is not None
    lengths = history.offsets.diff()
    assert not lengths[[int(name[1]) for name in people if name.startswith("u")]].any()


def test_an_item_that_others_had_is_refused_where_histories_pool_it(
    base_maker: Callable[..., Base],
) -> None:
    base = as_towers(base_maker())
    with pytest.raises(ConfigError, match="Pretrain again"):
        gone(base, Forgotten.of(items=["i0"]))
    plain = as_towers(base_maker(), "none")
    forgotten = Forgotten.of(items=["i0"])
    assert same(vectors(gone(plain, forgotten), forgotten), vectors(plain, forgotten))


def test_their_numbers_are_gone(base_maker: Callable[..., Base]) -> None:
    base = base_maker()
    now = gone(base, Forgotten.of(["u2"], ["i5"]))
    assert not now.model.users.weight[2].any()
    assert not now.model.items.weight[5].any()
    assert now.model.item_bias(torch.tensor([5])) == 0
    assert now.users.ids.tolist() == ["u0", "u1", None, "u3", "u4", "u5"]
    assert (len(now.users), len(now.items)) == (6, 8)


def test_a_base_that_knows_none_of_them_is_the_same(base_maker: Callable[..., Base]) -> None:
    base = base_maker()
    now = gone(base, Forgotten.of(["nobody"]))
    assert now.digest == base.digest
    assert now.info == base.info


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_a_quantized_adapter_loses_nothing_more(
    base_maker: Callable[..., Base], tmp_path: Path, storage: Storage
) -> None:
    base = base_maker()
    adapter = quantized(base, adapter_of(base, {"users": 2, "items": 2}), storage)
    forgotten = Forgotten.of(["u1"], ["i2"])
    now = gone(base, forgotten)
    made = rekeyed(base, now, adapter, forgotten, [])
    save_adapter(made, tmp_path)
    assert same(vectors(load_adapter(tmp_path, now), forgotten), vectors(adapter, forgotten))
    assert made.info.parameters["factors"] < adapter.info.parameters["factors"]


def test_a_row_that_was_appended_and_forgotten_is_not_the_adapters(
    base_maker: Callable[..., Base],
) -> None:
    base = base_maker()
    adapter = adapter_of(base, {"users": 2})
    table = torch.cat([base.model.users.weight, torch.ones(2, 4), torch.full((1, 4), 3.0)])
    model = base.model.replaced(users=table_of(table)).requires_grad_(False)
    longer = replace(base, model=model, users=base.users.extend(["x", "y", "z"]))
    forgotten = Forgotten.of(["x"])
    now = gone(longer, forgotten)
    assert now.digest == longer.digest, "appended rows are outside of it"
    before = rekeyed(longer, longer, adapter, Forgotten.of(["nobody"]), [])
    made = rekeyed(longer, now, adapter, forgotten, [])
    assert same(vectors(made, forgotten), vectors(before, forgotten))
    assert "z" in vectors(made, forgotten)["users"]
