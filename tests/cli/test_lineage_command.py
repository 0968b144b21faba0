"""`lorarec lineage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from world import Ended, World

from lorarec.jobs.derive_adapter import Asked, truncate_adapter
from lorarec.jobs.promote import promote
from lorarec.jobs.rebase import rebase
from lorarec.lora.adapter import AdapterInfo
from lorarec.record import load_record

Ran = Callable[..., Ended]
CHAMPION = "models:/lorarec-books@champion"


def nodes(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield root
    for child in root["children"]:
        yield from nodes(child)


def named(root: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (node for node in nodes(root) if node["name"] == name)
    return found


@pytest.fixture
def grown(world: World) -> tuple[World, str]:
    """The world with its adapter as champion, and another one truncated from it."""
    settings = world.settings.with_options({"gate.min_effect": -1.0})
    promote(settings, "books", world.store, world.adapter)
    made = truncate_adapter(settings, world.store, world.adapter, 1, Asked())
    return world, str(made.run)


def test_a_base_shows_data_adapters_and_what_came_of_them(
    grown: tuple[World, str], ran: Ran
) -> None:
    world, truncated = grown
    root = ran("lineage", world.base, "--json").json
    assert (root["kind"], root["name"], root["asked"]) == ("base", world.base, True)
    assert root["digest"] == world.load(world.base).digest
    assert root["versions"] == ["models:/lorarec-base/1 (champion)"]
    data = named(root, str(world.logs))
    assert data["digest"] == world.load(world.base).info.data.digest
    adapter = named(root, world.adapter)
    assert adapter["serves"]
    assert adapter["versions"] == ["models:/lorarec-books/1 (champion)"]
    below = named(adapter, truncated)
    assert f"truncate from {world.adapter}" in below["about"]
    assert not below["serves"]
    assert any(node["about"].startswith("gate books") for node in adapter["children"])
    assert world.other_adapter not in {node["name"] for node in nodes(root)}


@pytest.mark.parametrize("how", ["run", "alias", "version", "domain"])
def test_an_adapter_shows_its_own_branch_whatever_names_it(
    grown: tuple[World, str], ran: Ran, how: str
) -> None:
    world, truncated = grown
    other = world.adapt("movies").run
    names = {"run": world.adapter, "alias": CHAMPION, "version": "models:/lorarec-books/1"}
    root = ran("lineage", names.get(how, "books"), "--json").json
    found = {node["name"] for node in nodes(root)}
    assert {world.base, world.adapter, truncated} <= found
    assert other not in found
    assert [node["name"] for node in nodes(root) if node["asked"]] == [world.adapter]


def test_a_derived_adapter_shows_what_it_came_of(grown: tuple[World, str], ran: Ran) -> None:
    world, truncated = grown
    root = ran("lineage", truncated, "--json").json
    assert named(named(root, world.adapter), truncated)["asked"]


def test_an_adapter_on_another_base_is_named_with_it(world: World, ran: Ran) -> None:
    (done,) = rebase(world.settings, world.store, world.other_adapter, world.base).done
    made = str(done.run)
    before = ran("lineage", world.other_base, "--json").json
    assert f"rebased to {world.base}" in named(before, made)["about"]
    after = ran("lineage", made, "--json").json
    assert f"rebased from {world.other_adapter}" in named(after, made)["about"]


def test_the_tree_fits_the_screen(grown: tuple[World, str], ran: Ran) -> None:
    world, _ = grown
    shown = ran("lineage", "books")
    assert shown.code == 0
    assert max(len(line) for line in shown.out.splitlines()) <= 100
    text = " ".join(shown.out.replace("│", " ").split())
    assert f"* adapter {world.adapter}" in text
    assert "serves" in text


def test_a_folder_that_no_run_made_stands_under_its_base(world: World, ran: Ran) -> None:
    import shutil

    copy = world.folder / "copy"
    shutil.copytree(world.artifacts(world.adapter) / "adapter", copy)
    root = ran("lineage", copy, "--json").json
    assert root["name"] == world.base
    digest = load_record(copy / "adapter.json", AdapterInfo).digest
    assert named(root, str(copy))["digest"] == digest


def test_what_is_not_there_is_refused(world: World, ran: Ran) -> None:
    found = ran("lineage", "bokos")
    assert found.code == 2
    assert "Did you mean 'books'" in found.err
    assert ran("lineage", "f" * 32).code == 2
