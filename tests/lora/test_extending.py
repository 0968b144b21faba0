"""Room for more ids in any adapter: whatever it knew scores as before, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from random_adapters import DIM, Build, adapters

from lorarec.lora.adapter import Adapter
from lorarec.lora.extending import More, entries, extended, more_of
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base

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


@given(build=adapters(), users=USERS, items=ITEMS)
def test_what_it_knew_scores_as_before(
    base_maker: Callable[..., Base], build: Build, users: list[str], items: list[str]
) -> None:
    base = base_maker()
    adapter = build(base)
    room, _ = roomy(base, adapter, users, items)
    assert room.info.config == adapter.info.config
    rows = torch.arange(len(adapter.users)), torch.arange(len(adapter.items))
    assert torch.equal(adapter.model.user_vectors(rows[0]), room.model.user_vectors(rows[0]))
    assert torch.equal(adapter.model.item_vectors(rows[1]), room.model.item_vectors(rows[1]))
    before, after = adapter.model.item_bias(rows[1]), room.model.item_bias(rows[1])
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


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
