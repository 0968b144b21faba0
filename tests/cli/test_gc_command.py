"""`lorarec gc`."""

from __future__ import annotations

from collections.abc import Callable

from world import Ended, World

Ran = Callable[..., Ended]


def test_it_shows_first_and_removes_when_told(world: World, ran: Ran) -> None:
    newer = world.adapt("books", {"train.seed": 1}).run
    shown = ran("gc", "--keep", 1)
    assert shown.code == 0
    assert "would be removed" in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 100
    assert world.artifacts(world.adapter).is_dir()
    wanted = ran("gc", "--keep", 1, "--json").json
    assert [each["name"] for each in wanted["removed"]] == [world.adapter]
    assert wanted["bytes"] == wanted["removed"][0]["bytes"] > 0
    assert [each["name"] for each in wanted["kept"]] == [world.other_base]
    done = ran("gc", "--keep", 1, "--yes", "--json").json
    assert done == {**wanted, "dry_run": False}
    assert not world.artifacts(world.adapter).exists()
    assert ran("adapters", "show", newer).code == 0
    assert ran("gc", "--keep", 1, "--yes", "--json").json["removed"] == []


def test_a_base_in_use_is_refused_with_what_is_on_it(world: World, ran: Ran) -> None:
    found = ran("gc", "--keep", 1, "--yes", "--base", world.base)
    assert found.code == 2
    assert world.adapter in found.err
    assert world.artifacts(world.base).is_dir()
    assert ran("gc", "--keep", 0).code == 2
