"""`lorarec evaluate --folds`, as typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import Ended, World

from lorarec.config import Tracking
from lorarec.tracking import open_store
from lorarec.tracking.registry import find_run, newest_base

Ran = Callable[..., Ended]
CHEAP = ("--domain", "books", "--arms", "popularity,base,lora")


def test_each_window_is_trained_on_what_came_before_it(world: World, ran: Ran) -> None:
    times = world.frame["timestamp"]
    days = (int(times.max()) - int(times.min())) // 86_400  # type: ignore[arg-type]
    window = f"{days // 8}d"
    before = newest_base(world.store)
    done = ran("evaluate", *CHEAP, "--folds", "2", "--window", window, "--json")
    assert done.code == 0, done.err
    older, newer = done.json["folds"]
    assert older["end"] == newer["test"]
    assert older["valid"] < older["test"] == newer["valid"]
    apart = open_store(
        Tracking(uri=world.store.uri, experiment=done.json["experiment"]), environ={}
    )
    for fold in (older, newer):
        assert list(fold["arms"]) == ["popularity", "base", "lora"]
        base, run = (find_run(apart, fold[name].removeprefix("runs:/")) for name in ("base", "run"))
        # The base and what is evaluated on it share the cut-off: nothing of the future trained it.
        assert base.tag("cutoff") == run.tag("cutoff")
        assert base.tag("base_digest") == run.tag("base_digest")
        assert run.tag("adapter_digest")
    cutoffs = [
        find_run(apart, f["base"].removeprefix("runs:/")).tag("cutoff") for f in (older, newer)
    ]
    assert int(cutoffs[1]) - int(cutoffs[0]) == days // 8 * 86_400
    arms = done.json["summary"]["arms"]
    means = [f["arms"]["lora"]["metrics"]["recall_at_20"]["mean"] for f in (older, newer)]
    assert arms["lora"]["mean"] == pytest.approx(sum(means) / 2)
    assert world.run(done.json["run"]).kind == "backtest"
    # Bases of the past are not what later commands take.
    assert newest_base(world.store) == before


def test_a_domain_that_the_base_has_not_seen_is_kept_out_of_every_fold(
    world: World, ran: Ran
) -> None:
    times = world.frame["timestamp"]
    window = f"{(int(times.max()) - int(times.min())) // 86_400 // 8}d"  # type: ignore[arg-type]
    asked = ("--domain", "games", "--arms", "base", "--base", world.other_base)
    done = ran("evaluate", *asked, "--folds", "1", "--window", window, "--json")
    assert done.code == 0, done.err
    base = world.load(done.json["folds"][0]["base"])
    assert base.info.excluded_domains == ["games"]


def test_what_does_not_fit_exits_with_2(world: World, ran: Ran) -> None:
    for arguments, words in (
        (("--folds", "2"), "--folds and --window together"),
        (("--folds", "2", "--window", "7d", "--adapter", "none"), "one domain"),
        (("--folds", "2", "--window", "soon"), "such as 7d"),
        (("--folds", "9", "--window", "5000d"), "a shorter window"),
    ):
        done = ran("evaluate", *CHEAP, *arguments)
        assert (done.code, done.out) == (2, ""), done.err
        assert words in " ".join(done.err.split())
