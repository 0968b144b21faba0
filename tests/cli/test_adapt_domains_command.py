"""`lorarec adapt` for many domains, as typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import Ended, World

from lorarec.errors import DivergedError
from lorarec.fanout import engines
from lorarec.fanout.serial import SerialEngine
from lorarec.jobs import adapt_domains as job

Ran = Callable[..., Ended]


def test_all_domains_are_printed_with_their_adapters(world: World, ran: Ran) -> None:
    done = ran("adapt", "--all-domains", "--rank", 2)
    assert done.code == 0
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[3:]] == ["books", "games", "movies"]
    assert world.newest().uri in lines[-1]
    assert "Next: lorarec evaluate --domain books" in done.err


def test_json_of_a_list_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran("adapt", "--domain", "movies,books", "--json").json
    assert [outcome["domain"] for outcome in found["done"]] == ["books", "movies"]
    assert world.run(found["run"]).kind == "adapt-all"
    assert found["base_digest"] == world.load(world.base).digest


@pytest.mark.parametrize("options", [[], ["--domain", "books", "--all-domains"]])
def test_one_of_both_options_is_wanted(world: World, ran: Ran, options: list[str]) -> None:
    done = ran("adapt", *options)
    assert (done.code, done.out) == (2, "")
    assert "either --domain D or --all-domains" in done.err


def test_an_unknown_name_in_a_list_exits_with_2_and_no_run(world: World, ran: Ran) -> None:
    before = world.runs()
    done = ran("adapt", "--domain", "books,movis")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'movies'?" in done.err
    assert world.runs() == before


def test_where_all_are_too_small_it_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("adapt", "--all-domains", "--set", "data.min_domain_rows=1000000")
    assert (done.code, done.out) == (2, "")
    assert "No domain is left" in done.err


def test_one_that_fails_is_named_after_the_others_are_printed(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_adapter = job.train_adapter

    def diverging(settings: object, config: object, name: str, *rest: object) -> object:
        if name == "games":
            raise DivergedError("The loss became nan.")
        return train_adapter(settings, config, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "train_adapter", diverging)
    done = ran("adapt", "--all-domains", "--json")
    assert done.code == 2
    assert done.json["failed"] == {"games": "The loss became nan."}
    assert len(done.json["done"]) == 2
    assert "1 of 3 domains could not be adapted to: games." in done.err


def test_ranks_are_chosen_for_each_of_many_domains(world: World, ran: Ran) -> None:
    found = ran("adapt", "--domain", "movies,books", "--rank", "auto", "--json").json
    assert [outcome["domain"] for outcome in found["done"]] == ["books", "movies"]
    assert all("users:" in outcome["targets"] for outcome in found["done"])


def test_several_ranks_of_several_domains_are_refused(world: World, ran: Ran) -> None:
    done = ran("adapt", "--all-domains", "--rank", "2,4")
    assert done.code == 2
    assert "2,4, which is a sweep" in done.err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--domain", "books", "--engine", "spawn"], "--engine spawn is for many domains"),
        (["--all-domains", "--workers", 2], "--workers 2 goes with an engine that has some"),
        (["--all-domains", "--engine", "serial", "--workers", 2], "goes with an engine"),
        (["--all-domains", "--engine", "spawn", "--address", "auto"], "goes with --engine ray"),
        (["--all-domains", "--engine", "spawn", "--workers", 0], "x>=1"),
    ],
)
def test_options_of_engines_that_do_not_go_together_are_refused(
    world: World, ran: Ran, options: list[object], word: str
) -> None:
    done = ran("adapt", *options)
    assert (done.code, done.out) == (2, "")
    assert word in " ".join(done.err.split())


def test_workers_are_told_how_many_threads_they_have(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(engines, "engine_named", lambda *told: asked.append(told) or SerialEngine())
    options = ("--engine", "spawn", "--workers", 2)
    done = ran("adapt", "--all-domains", *options, "--set", "train.threads=1", "--json")
    assert asked == [("spawn", 2, 1, None)]
    assert world.run(done.json["done"][0]["run"]).params["train.threads"] == "1"
