"""Room for more ids in any adapter: whatever it knew scores as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_adapters import DIM, Build, adapter_of, adapters

from lorarec.lora.adapter import Adapter, on_base
from lorarec.lora.extending import More, entries, extended, more_of
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base
from lorarec.models.base import ItemBias, table_of

USERS = st.lists(
    st.sampled_from(["u0", "u4", "new 0", "new 2", "later", "later still"]), max_size=5
)
ITEMS = st.lists(
    st.sampled_from(["i1", "i7", "new 1", "new 3", "later", "later still"]), max_size=5
)


def roomy(
    base: Base, adapter: Adapter, users: list[str], items: list[str]
) -> tuple[Adapter, dict[str, More]]:
    more = more_of(base, AdapterState.of(adapter), {"users": users, "items": items})
    vectors = {name: torch.full((len(each.grown), DIM), 0.5) for name, each in more.items()}
    return extended(base, adapter, more, vectors), more


@settings(deadline=None, max_examples=50)
@given(build=adapters(), users=USERS, items=ITEMS)
def test_what_it_knew_scores_as_before(
    base_maker: Callable[..., Base], build: Build, users: list[str], items: list[str]
) -> None:
    base = base_maker()
    adapter = build(base)
    room, _ = roomy(base, adapter, users, items)
    assert room.info.config == adapter.info.config
    rows = torch.arange(len(adapter.users)), torch.arange(len(adapter.items))
    # A product over more rows may round each of them otherwise.
    for vectors, place in (("user_vectors", 0), ("item_vectors", 1)):
        was, now = (getattr(each.model, vectors)(rows[place]) for each in (adapter, room))
        assert torch.allclose(was, now, atol=1e-5)
    before, after = adapter.model.item_bias(rows[1]), room.model.item_bias(rows[1])
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


@settings(deadline=None, max_examples=50)
@given(build=adapters(), users=USERS, items=ITEMS)
def test_every_asked_id_has_entries_and_only_they_are_named(
    base_maker: Callable[..., Base], build: Build, users: list[str], items: list[str]
) -> None:
    base = base_maker()
    room, more = roomy(base, build(base), users, items)
    assert set(room.users.rows(users)) == set(more["users"].rows.tolist())
    assert set(room.items.rows(items)) == set(more["items"].rows.tolist())
    state = AdapterState.of(room)
    named = entries(state.tensors, more)
    for name, ids in (("users", users), ("items", items)):
        grown = state.grown[name]
        assert named[f"{name}.grown"].tolist() == [each in ids for each in grown]
    if state.config.bias:
        own = room.items.take(state.rows("bias").numpy())
        assert named["bias.b"].tolist() == [each in items for each in own]
        assert set(items) <= set(own)


def test_an_id_that_the_base_has_gained_since_is_grown(base_maker: Callable[..., Base]) -> None:
    base = base_maker()
    adapter = adapter_of(base, {"users": 2, "items": 2, "transform": 1})
    later = base_maker(users=8, items=10)
    tables = {
        name: table_of(torch.cat([getattr(base.model, name).weight, torch.ones(2, DIM)]).detach())
        for name in ("users", "items")
    }
    bias = ItemBias(torch.cat([base.model.bias.table.weight, torch.ones(2, 1)]).detach())  # type: ignore[union-attr]
    model = base.model.replaced(**tables, bias=bias).requires_grad_(False)
    longer = replace(base, model=model, users=later.users, items=later.items)  # type: ignore[arg-type]
    state = AdapterState.of(adapter)
    now = on_base(longer, adapter.info, state.tensors, state.grown)
    room, more = roomy(longer, now, ["u7"], ["i9", "i0"])
    assert (more["users"].grown, more["items"].grown) == (["u7"], ["i9"])
    assert AdapterState.of(room).grown == {"users": ["u7"], "items": ["i9"]}
    known = room.users.rows(["u6", "u0"]), now.users.rows(["u6", "u0"])
    assert torch.equal(
        room.model.user_vectors(torch.from_numpy(known[0])),
        now.model.user_vectors(torch.from_numpy(known[1])),
    )
