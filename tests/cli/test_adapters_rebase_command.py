"""`lorarec adapters rebase`, as typed."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from world import OUTSIDE, Ended, World

Ran = Callable[..., Ended]


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("adapters", "rebase", "-h")
    assert done.code == 0
    assert "lorarec adapters rebase books --to" in done.out.split("Example:")[1]
    assert max(map(len, done.out.splitlines())) <= 100


def test_it_prints_every_arm_and_later_commands_take_it(world: World, ran: Ran) -> None:
    done = ran("adapters", "rebase", OUTSIDE, "--to", world.base)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    run = world.newest()
    assert run.uri in done.out
    for text in ("old adapter on the old base", "new base, no adapter", "carried over, not trained",
                 "trained again"):  # fmt: skip
        assert text in done.out
    assert "keep their factors" in done.err
    taken = ran("evaluate", "--domain", OUTSIDE, "--arms", "lora", "--json")
    assert f"Adapter: {run.uri}" in taken.err
    listed = ran("adapters", "list")
    assert run.uri.removeprefix("runs:/")[:8] in listed.out


def test_all_has_the_newest_of_every_domain(world: World, ran: Ran) -> None:
    found = ran("adapters", "rebase", "--all", "--to", "newest", "--json").json
    assert found["failed"] == {}
    (one,) = found["rebased"]
    assert (one["domain"], one["parents"], one["kept"]) == (OUTSIDE, [world.other_adapter], True)
    assert list(one["measured"]) == ["old", "base", "carried", "rebased"]
    assert one["base_digest"] == world.load(world.base).digest
    assert one["old_base_digest"] == world.load(world.other_base).digest


def test_a_gate_that_says_no_exits_with_1_and_keeps_nothing(world: World, ran: Ran) -> None:
    # A base of items that are not who they say they are, and too few steps to mend that.
    nonsense = world.frame.with_columns(item_id=pl.col("item_id").shuffle(seed=0))
    new = world.pretrain(nonsense).run
    before = world.runs()
    slow = ("--data", world.logs, "--epochs", "1", "--set", "adapt.learning_rate=0.00001")
    options = ("--to", new, "--max-loss", "0", *slow)
    found = ran("adapters", "rebase", world.adapter, *options, "--json")
    assert found.json["measured"]["rebased"]["minus_first"]["recall_at_20"]["mean"] < 0
    assert found.code == 1
    assert (found.json["kept"], found.json["run"]) == (False, None)
    assert world.runs() == before
    assert "Not kept: recall@20 of books fell by" in found.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Expected either an ADAPTER or --all."),
        (("games", "--all"), "Expected either an ADAPTER or --all."),
        (("games", "--set", "adapt.rank=4"), "--set adapt.rank=4 was given"),
        (("nothing",), "There is no adapter 'nothing' to rebase"),
    ],
)
def test_what_it_cannot_do_exits_with_2(
    world: World, ran: Ran, options: tuple[str, ...], said: str
) -> None:
    done = ran("adapters", "rebase", *options, "--to", world.base)
    assert done.code == 2
    assert said in done.err


def test_an_adapter_of_this_base_already_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("adapters", "rebase", world.adapter, "--to", world.base)
    assert done.code == 2
    assert f"--from {world.adapter}" in done.err
