"""An adapter on a base that has gained rows since: what it knew then scores as it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adapters import NEW_ITEMS, NEW_USERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.attach import disabled, merged
from lorarec.models.artefact import Base, load_base, save_base, weights_digest
from lorarec.models.base import ItemBias, plain_tables, table_of
from lorarec.models.two_tower import TowerConfig, TwoTower


@pytest.fixture(params=["mf", "two-tower"])
def base(base_maker: Callable[..., Base], request: pytest.FixtureRequest) -> Base:
    """Six users and eight items, of either model."""
    plain = base_maker()
    return plain if request.param == "mf" else as_towers(plain)


def as_towers(base: Base) -> Base:
    """Two towers over the same tables, with a history and a layer that do something."""
    tables, config = plain_tables(base.model), TowerConfig(layers=(5,), history="attention")
    had = sparse.csr_matrix(np.random.default_rng(0).integers(0, 2, (6, 8)))
    shape = (base.model.similarity, base.model.temperature, config, had)
    model = TwoTower.from_tables(tables["users"], tables["items"], *shape, bias=tables["bias"])
    generator = torch.Generator().manual_seed(8)
    for name, parameter in model.requires_grad_(False).named_parameters():
        if name not in ("users.weight", "items.weight"):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    known = {"model": "two-tower", "tower": config, "digest": weights_digest(model)}
    return replace(base, model=model, info=base.info.model_copy(update=known))


def longer(base: Base, users: list[str], items: list[str]) -> Base:
    """The base with rows appended behind those that were trained."""
    generator = torch.Generator().manual_seed(9)
    tables = {
        name: torch.cat([table, torch.randn(len(ids), table.shape[1], generator=generator)])
        for (name, table), ids in (
            (pair, users if pair[0] == "users" else items)
            for pair in plain_tables(base.model).items()
        )
    }
    grown = base.model.replaced(
        users=table_of(tables["users"]),
        items=table_of(tables["items"]),
        bias=ItemBias(tables["bias"]) if "bias" in tables else None,
    ).requires_grad_(False)
    return replace(
        base, model=grown, users=base.users.extend(users), items=base.items.extend(items)
    )


def test_on_a_base_that_has_grown_since_it_scores_as_it_did(
    folder: Path, base: Base, adapter: Adapter, all_pairs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    # One user and one item that the adapter has grown itself, among new ones.
    now = longer(base, ["newcomer", NEW_USERS[1]], ["late", NEW_ITEMS[0], "later"])
    loaded = load_adapter(folder, now)
    assert list(loaded.users.ids) == [*base.users.ids, *NEW_USERS, "newcomer"]
    assert list(loaded.items.ids) == [*base.items.ids, *NEW_ITEMS, "late", "later"]
    assert torch.equal(loaded.model.score(*all_pairs), adapter.model.score(*all_pairs))
    fresh = torch.from_numpy(now.items.rows(["late", "later"]))
    mine = torch.from_numpy(loaded.items.rows(["late", "later"]))
    assert torch.equal(loaded.model.items(mine), now.model.items(fresh))
    user, theirs = (torch.from_numpy(v.users.rows(["newcomer"])) for v in (loaded, now))
    assert torch.equal(loaded.model.users(user), now.model.users(theirs))
    with disabled(loaded.model):
        ours = loaded.model.score(user.expand(2), mine)
        assert torch.equal(ours, now.model.score(theirs.expand(2), fresh))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    users=st.lists(st.sampled_from(["a", "b", "c", *NEW_USERS]), unique=True, max_size=5),
    items=st.lists(st.sampled_from(["a", "b", "c", *NEW_ITEMS]), unique=True, max_size=5),
)
def test_whatever_the_base_gains_every_id_keeps_its_vector(
    folder: Path, base: Base, adapter: Adapter, users: list[str], items: list[str]
) -> None:
    now = longer(base, users, items)
    loaded = load_adapter(folder, now)
    for name, old, new, theirs in (
        ("users", adapter.users, loaded.users, now.users),
        ("items", adapter.items, loaded.items, now.items),
    ):
        assert new.starts_with(old)
        assert set(new.ids) == set(old.ids) | set(theirs.ids)
        table = getattr(loaded.model, name)
        assert len(table) == len(new)
        rows = torch.arange(len(old))
        assert torch.equal(table(rows), getattr(adapter.model, name)(rows))
        gained = [text for text in theirs.ids if text not in set(old.ids)]
        mine, base_rows = (torch.from_numpy(v.rows(gained)) for v in (new, theirs))
        assert torch.equal(table(mine), getattr(now.model, name)(base_rows))


def test_saved_from_a_base_that_has_grown_it_is_the_same_adapter(
    folder: Path, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now = longer(base, ["newcomer"], ["late"])
    again = tmp_path_factory.mktemp("again")
    save_adapter(load_adapter(folder, now), again)
    for name in ("adapter.safetensors", "adapter.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_merged_on_a_base_that_has_grown_the_scores_are_the_same(folder: Path, base: Base) -> None:
    model = load_adapter(folder, longer(base, ["newcomer"], ["late"])).model
    pairs = torch.cartesian_prod(torch.arange(9), torch.arange(12))
    assert torch.allclose(merged(model).score(*pairs.T), model.score(*pairs.T), atol=1e-5)


def test_a_base_that_has_grown_comes_back_from_disk_under_its_old_digest(
    folder: Path, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now, place = longer(base, ["newcomer"], ["late"]), tmp_path_factory.mktemp("base")
    save_base(now, place)
    loaded = load_base(place)
    assert loaded.digest == base.digest
    assert list(loaded.users.ids)[-1] == "newcomer"
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(9)).T
    assert torch.equal(loaded.model.score(*pairs), now.model.score(*pairs))
    assert load_adapter(folder, loaded).users.ids[-1] == "newcomer"


def test_a_longer_base_of_other_ids_is_refused(folder: Path, base: Base) -> None:
    now = longer(base, ["newcomer"], [])
    shuffled = replace(now, users=Vocabulary(["newcomer", *base.users.ids]))
    with pytest.raises(AdapterMismatchError, match=r"users .* do not begin"):
        load_adapter(folder, shuffled)


def test_a_base_with_ids_and_no_vectors_is_refused(folder: Path, base: Base) -> None:
    with pytest.raises(AdapterMismatchError, match="7 users and 6 vectors") as refused:
        load_adapter(folder, replace(base, users=base.users.extend(["newcomer"])))
    assert refused.value.exit_code == 2
