"""An adapter turned to another base: exact where the bases differ by a rotation alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_adapters import DIM, ITEMS, USERS, adapter_of
from torch import Tensor

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, ConfigError
from lorarec.lora.adapter import Adapter
from lorarec.lora.attach import Touched, restore
from lorarec.lora.rebasing import Alignment, Carried, aligned, carried
from lorarec.models.artefact import Base
from lorarec.models.base import ItemBias, table_of

BaseMaker = Callable[..., Base]
RANKS = {"users": 2, "items": 2, "transform": 1}


def turned(base: Base, users: list[int], items: list[int], length: float = 1.0) -> Base:
    """The base with some of its rows, in another order, in a space turned against its own."""
    generator = torch.Generator().manual_seed(5)
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator)).Q * length
    tables = {
        name: table_of(getattr(base.model, name).weight.detach()[rows] @ rotation)
        for name, rows in (("users", users), ("items", items))
    }
    bias = base.model.bias
    kept = None if bias is None else ItemBias(bias.table.weight.detach()[items].clone())  # type: ignore[union-attr]
    model = base.model.replaced(**tables, bias=kept).requires_grad_(False)
    return replace(
        base,
        model=model,  # type: ignore[arg-type]
        users=Vocabulary(base.users.take(np.array(users))),
        items=Vocabulary(base.items.take(np.array(items))),
    )


Grown = dict[str, list[str]]


def beside(base: Base, adapter: Adapter, new: Base) -> tuple[Carried, Grown]:
    """All ids of the adapter's vocabularies as the domain's, on the new base."""
    ids = {"users": adapter.users, "items": adapter.items}
    known = {"users": new.users, "items": new.items}
    grown = {
        name: [str(each) for each in ids[name].ids if known[name].rows([each], "mark")[0] < 0]
        for name in ids
    }
    touched = Touched(
        torch.arange(len(new.users)),
        torch.arange(len(new.items)),
        torch.zeros(len(grown["users"]), DIM),
        torch.zeros(len(grown["items"]), DIM),
        torch.arange(len(new.items) + len(grown["items"])),
    )
    return carried(adapter, base, new, touched, grown, aligned(base, new)), grown


def scores(adapter: Adapter, made: Carried, new: Base, grown: Grown) -> tuple[Tensor, Tensor]:
    """Of every user and item of the adapter, on the old base and on the new one."""
    model = restore(new.model, adapter.info.config, made.tensors)
    users, items = adapter.users.series, adapter.items.series
    now = (
        torch.from_numpy(new.users.extend(grown["users"]).rows(users)),
        torch.from_numpy(new.items.extend(grown["items"]).rows(items)),
    )
    found = []
    for each, rows in (
        (adapter.model, (torch.arange(len(users)), torch.arange(len(items)))),
        (model, now),
    ):
        with torch.no_grad():
            grid = each.user_vectors(rows[0]) @ each.item_vectors(rows[1]).T
            found.append(grid + each.item_bias(rows[1]))
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_turned_to_a_turned_base_it_scores_as_before(base_maker: BaseMaker, kind: str) -> None:
    base = base_maker()
    adapter = adapter_of(base, RANKS if kind == "lora" else {}, seed=1, kind=kind)
    new = turned(base, [5, 2, 0, 1, 4, 3], [7, 0, 3, 1, 2, 6, 5, 4], 1.0)
    made, grown = beside(base, adapter, new)
    before, after = scores(adapter, made, new, grown)
    assert torch.allclose(before, after, atol=2e-5)
    assert made.counts["kept"] == USERS + ITEMS


def test_the_length_of_rows_is_carried_too(base_maker: BaseMaker) -> None:
    base = base_maker()
    adapter = adapter_of(base, RANKS, seed=1)
    new = turned(base, list(range(USERS)), list(range(ITEMS)), 3.0)
    made, grown = beside(base, adapter, new)
    before, after = scores(adapter, made, new, grown)
    assert base.model.similarity == "cosine"  # by dot product scores would be nine times as large
    assert torch.allclose(before, after, atol=2e-5)


def test_an_id_that_the_new_base_does_not_know_is_grown_with_the_vector_it_had(
    base_maker: BaseMaker,
) -> None:
    base = base_maker()
    adapter = adapter_of(base, RANKS, seed=2)
    new = turned(base, [5, 2, 0, 1, 4], [7, 0, 3, 1, 2, 6, 5])
    made, grown = beside(base, adapter, new)
    assert grown == {"users": [base.users.ids[3]], "items": [base.items.ids[4]]}
    before, after = scores(adapter, made, new, grown)
    # Their bias on the base is gone with the row; the rest is as it was.
    has_one = torch.arange(ITEMS) != 4
    assert torch.allclose(before[:, has_one], after[:, has_one], atol=2e-5)
    assert made.counts == {"kept": 12, "grown": 0, "learnt": 0, "lost": 2, "gone": 0, "new": 0}


def test_the_rotation_is_found(base_maker: BaseMaker) -> None:
    base = base_maker()
    new = turned(base, [1, 0, 2, 3, 5, 4], list(range(ITEMS)))
    found = aligned(base, new)
    assert found.cosine == pytest.approx(1.0, abs=1e-5)
    assert found.shared == {"users": USERS, "items": ITEMS}
    whole = base.model.users.weight @ found.rotation
    assert torch.allclose(whole[[1, 0, 2, 3, 5, 4]], new.model.users.weight, atol=1e-5)


def test_bases_that_share_no_ids_are_refused(base_maker: BaseMaker) -> None:
    base = base_maker()
    other = replace(
        base,
        users=Vocabulary([f"other {n}" for n in range(USERS)]),
        items=Vocabulary([f"other {n}" for n in range(ITEMS)]),
    )
    with pytest.raises(AdapterMismatchError, match="share 0 users and 0 items"):
        aligned(base, other)


def test_a_rank_above_the_new_dimension_is_refused(base_maker: BaseMaker) -> None:
    base = base_maker()
    adapter = adapter_of(base, {"users": 4, "items": 4}, seed=2)
    new = base_maker(dim=3)
    none = torch.empty(0, 3)
    touched = Touched(torch.arange(USERS), torch.arange(ITEMS), none, none, torch.arange(ITEMS))
    how = Alignment(torch.eye(4)[:, :3], {"users": 1.0, "items": 1.0}, {}, 1.0)
    grown: Grown = {"users": [], "items": []}
    with pytest.raises(ConfigError, match="truncate ADAPTER --rank 3"):
        carried(adapter, base, new, touched, grown, how)
