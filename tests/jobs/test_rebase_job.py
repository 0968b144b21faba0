"""An adapter brought to a retrained base: matched by ids, trained again, measured, recorded."""

from __future__ import annotations

import polars as pl
import pytest
from world import OUTSIDE, Words, World

from lorarec.errors import ConfigError, NotFoundError
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.rebase import Rebased, rebase
from lorarec.lora.adapter import load_adapter
from lorarec.lora.state import AdapterState


def one(world: World, text: str, to: str, words: Words | None = None, **options: object) -> Rebased:
    listener = (words or Words()).listener
    found = rebase(world.settings, world.store, text, to, listen=listener, **options)  # type: ignore[arg-type]
    assert not found.failed
    (done,) = found.done
    return done


def test_it_is_a_trained_adapter_of_the_new_base_that_later_commands_take(world: World) -> None:
    done = one(world, OUTSIDE, world.base)
    assert done.parent.name == world.other_adapter
    run = world.run(str(done.run))
    assert (run.kind, run.tag("domain"), run.tag("parents")) == (
        "adapt",
        OUTSIDE,
        world.other_adapter,
    )
    base = world.load(world.base)
    adapter = load_adapter(world.artifacts(run.uri) / "adapter", base)
    assert adapter.info.digest == done.adapter.info.digest == run.tag("adapter_digest")
    assert adapter.info.made_of is not None
    assert adapter.info.made_of.how == "rebase"
    assert adapter.info.made_of.parents == [done.parent.info.digest]
    assert adapter.info.config == done.parent.info.config
    assert adapter.info.base_digest == base.digest == run.tag("base_digest")


def test_every_arm_is_measured_on_the_same_users(world: World) -> None:
    done = one(world, OUTSIDE, world.base)
    assert done.measured is not None
    assert list(done.measured.results) == ["old", "base", "carried", "rebased"]
    metrics = world.run(str(done.run)).metrics
    for arm in done.measured.results:
        for name, value in done.measured.metrics(arm).items():
            assert metrics[f"{arm}/{name}"] == pytest.approx(value)
    own = {result.per_user["recall_at_20"].shape for result in done.measured.results.values()}
    assert len(own) == 1


def test_ids_go_by_name_whatever_their_rows(world: World) -> None:
    """Users of games were grown beside a base without games, and the new base has learnt them."""
    done = one(world, OUTSIDE, world.base)
    old = load_adapter(
        world.artifacts(world.other_adapter) / "adapter", world.load(world.other_base)
    )
    state = AdapterState.of(old)
    grown = len(state.grown["users"]) + len(state.grown["items"])
    assert grown > 0
    assert done.counts["learnt"] == grown
    assert done.counts["kept"] == len(state.rows("users")) + len(state.rows("items"))
    assert done.counts["gone"] == done.counts["new"] == done.counts["lost"] == 0
    now = AdapterState.of(done.adapter)
    assert now.grown == {"users": [], "items": []}


def test_ids_that_the_new_base_lacks_are_grown(world: World) -> None:
    games = world.adapt(OUTSIDE)
    done = one(world, games.run, world.other_base)
    state = AdapterState.of(games.adapter)
    touched = len(state.rows("users")) + len(state.rows("items"))
    assert done.counts["lost"] > 0
    assert done.counts["kept"] + done.counts["lost"] == touched
    now = AdapterState.of(done.adapter)
    assert len(now.grown["users"]) + len(now.grown["items"]) == done.counts["lost"]


def test_what_trained_the_old_adapter_is_held_out_by_no_split_after_it(world: World) -> None:
    """Its factors are carried over: on an earlier cut-off they would be tested on what they saw."""
    first, second = (int(world.frame["timestamp"].quantile(q)) for q in (0.5, 0.7))  # type: ignore[arg-type]
    early = world.settings.with_options({"data.cutoffs": [first, second]})
    new = pretrain(early, [world.logs], world.store)
    before = world.load(world.base).info.split
    words = Words()
    done = one(world, world.adapter, new.run, words)
    assert f"trained on rows up to {before.t_valid}, later than the new base" in words
    assert done.adapter.info.split.cutoffs == before.cutoffs
    assert world.run(str(done.run)).tag("cutoff") == str(before.t_test)
    assert done.measured is not None
    assert list(done.measured.results) == ["old", "base", "carried", "rebased"]
    found = evaluate(world.settings, "books", world.store, new.run)
    assert world.run(found.run).tag("cutoff") == str(before.t_test)


def test_where_no_cut_off_tells_it_nothing_is_carried_over(world: World) -> None:
    new = world.pretrain(world.frame, split="random").run
    with pytest.raises(
        ConfigError, match=r"was split otherwise.* would come along.*adapt --domain"
    ):
        one(world, world.adapter, new)


def test_a_domain_is_looked_up_on_other_bases_alone(world: World) -> None:
    with pytest.raises(NotFoundError, match=r"There is no adapter 'gamess' to rebase.*'games'"):
        one(world, "gamess", world.base)
    with pytest.raises(ConfigError, match=r"is on the base with digest .* already"):
        one(world, world.adapter, world.base)
    with pytest.raises(NotFoundError, match="no adapter 'books' to rebase"):
        one(world, "books", world.base)


def test_one_that_cannot_be_rebased_stops_no_other(world: World) -> None:
    world.adapt("movies", base=world.other_base)
    logs = world.frame.filter(pl.col("domain") != "movies")
    new = world.pretrain(logs).run
    found = rebase(world.settings, world.store, None, new)
    domains = [each.adapter.info.domain for each in found.done]
    assert domains == ["books", "games"]
    (why,) = found.failed.values()
    assert "no domain 'movies'" in why
