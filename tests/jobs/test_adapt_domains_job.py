"""Many domains in one pass: each as alone, under one run, and none stops another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from world import DOMAINS, Words, World

from lorarec.errors import ConfigError, DataError, DivergedError, NotFoundError
from lorarec.jobs import adapt_domains as job
from lorarec.jobs.adapt_domains import AdaptedDomains, adapt_domains, named_domains
from lorarec.jobs.listener import SILENT, Listener
from lorarec.lora.adapter import load_adapter
from lorarec.lora.attach import adapter_state
from lorarec.storage import read_json
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import nested_runs, runs_of

GRID = {"adapt.learning_rate_grid": [0.3, 1.0], "adapt.epochs": 4, "adapt.patience": 2}


def adapted(
    world: World,
    domains: str | None = None,
    options: dict[str, Any] | None = None,
    listen: Listener = SILENT,
    base: str | None = None,
) -> AdaptedDomains:
    """A pass with the world's settings."""
    return adapt_domains(
        world.settings.with_options(options or {}), domains, world.store, base, listen=listen
    )


def parts(world: World, uri: str) -> list[RunInfo]:
    """The runs under a pass."""
    return nested_runs(world.store, uri.removeprefix("runs:/"))


def failing(domain: str, error: BaseException) -> Callable[..., Any]:
    """In place of `train_adapter`: one domain raises."""
    train_adapter = job.train_adapter

    def failed(settings: Any, config: Any, name: str, *rest: Any) -> Any:
        if name == domain:
            raise error
        return train_adapter(settings, config, name, *rest)

    return failed


@pytest.mark.parametrize("outside", [False, True], ids=["seen", "one unseen"])
def test_every_adapter_is_to_the_bit_the_one_that_is_trained_alone(
    world: World, outside: bool
) -> None:
    base = world.other_base if outside else world.base
    found = adapted(world, options=GRID, base=base)
    assert [outcome.domain for outcome in found.done] == sorted(DOMAINS)
    for outcome in found.done:
        alone = world.adapt(outcome.domain, GRID, base=base)
        loaded = load_adapter(world.artifacts(outcome.run) / "adapter", world.load(base))
        states = adapter_state(loaded.model), adapter_state(alone.adapter.model)
        assert states[0].keys() == states[1].keys()
        assert all(bool((states[0][name] == states[1][name]).all()) for name in states[0])
        assert outcome.adapter_digest == alone.adapter.info.digest
        assert outcome.metrics == alone.adapter.info.metrics
        assert (outcome.learning_rate, outcome.best_epoch) == (
            alone.adapter.info.learning_rate,
            alone.history.best_epoch,
        )


def test_each_domain_stops_and_steps_by_itself(world: World) -> None:
    options = {"adapt.learning_rate_grid": [0.1, 3.0], "adapt.epochs": 8, "adapt.patience": 1}
    found = adapted(world, options=options)
    chosen = {(outcome.learning_rate, outcome.best_epoch) for outcome in found.done}
    assert len(chosen) > 1


def test_the_logs_are_read_and_the_base_is_loaded_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.data.source import DataSource
    from lorarec.jobs import choose

    calls: list[str] = []
    read, load = DataSource.read_again, choose.load_base
    monkeypatch.setattr(
        DataSource, "read_again", lambda *a, **k: (calls.append("logs"), read(*a, **k))[1]
    )
    monkeypatch.setattr(choose, "load_base", lambda *a: (calls.append("base"), load(*a))[1])
    assert len(adapted(world).done) == 3
    assert sorted(calls) == ["base", "logs"]


def test_the_runs_are_under_one_that_has_the_table_of_all(world: World) -> None:
    found = adapted(world, "movies,books")
    run = world.run(found.run)
    runs = parts(world, found.run)
    assert (run.kind, run.status, run.name) == ("adapt-all", "FINISHED", "adapt-2-domains")
    assert [(r.kind, r.domain) for r in runs] == [("adapt", "books"), ("adapt", "movies")]
    assert [r.uri for r in runs] == [outcome.run for outcome in found.done]
    table = read_json(world.artifacts(found.run) / "domains.json")
    assert table["done"] == found.record()["done"]
    assert run.metrics["parameters"] == sum(r.metrics["parameters"] for r in runs)
    mean = sum(r.metrics["valid_ndcg"] for r in runs) / 2
    assert run.metrics["valid_ndcg"] == pytest.approx(mean)
    assert run.tag("base_digest") == runs[0].tag("base_digest")
    assert run.tag("recipe") == runs[0].tag("recipe")
    assert run.rank == runs[0].rank == 2


def test_a_later_command_finds_each_domain_s_adapter(world: World) -> None:
    from lorarec.jobs.choose import choose_adapter

    found = adapted(world)
    for outcome in found.done:
        chosen = choose_adapter(world.store, None, world.load(world.base), outcome.domain, SILENT)
        assert chosen is not None
        assert chosen.info.digest == outcome.adapter_digest


def test_small_domains_are_passed_over_unless_they_are_named(world: World) -> None:
    rows = world.frame.group_by("domain").len().sort("len")
    smallest, least = rows["domain"][0], int(rows["len"][0])
    words = Words()
    found = adapted(world, options={"data.min_domain_rows": least}, listen=words.listener)
    assert list(found.passed_over) == [smallest]
    assert len(found.done) == 2
    assert f"Warning: {smallest} is passed over: it has" in words
    assert world.run(found.run).metrics["domains_passed_over"] == 1
    named = adapted(world, f"{smallest},{smallest}", {"data.min_domain_rows": least})
    assert [outcome.domain for outcome in named.done] == [smallest]
    assert "too few to adapt" in named.done[0].warnings[-1]


def late(world: World) -> pl.DataFrame:
    """The world's logs with a domain whose rows are all newer than any train row."""
    rows = world.frame.filter(pl.col("timestamp") == pl.col("timestamp").max()).head(1)
    return pl.concat([world.frame, rows.with_columns(domain=pl.lit("late"))])


def test_a_domain_without_train_rows_is_passed_over_even_where_it_is_named(world: World) -> None:
    world.pretrain(late(world))
    found = adapted(world, "books,late")
    assert found.passed_over == {"late": "it has no train row"}
    assert [outcome.domain for outcome in found.done] == ["books"]


def test_where_no_domain_is_left_no_run_is_made(world: World) -> None:
    before = world.runs()
    with pytest.raises(DataError, match=r"No domain is left.*each of the 3.*min_domain_rows"):
        adapted(world, options={"data.min_domain_rows": 10**6})
    world.pretrain(late(world))
    with pytest.raises(DataError, match="has 0 train rows"):
        adapted(world, "late")
    assert world.runs() == before + 1


def test_one_that_cannot_be_trained_leaves_the_others_as_alone(world: World) -> None:
    frame = world.frame.with_columns(
        weight=pl.when(pl.col("domain") == "games").then(0.0).otherwise(1.0)
    )
    world.pretrain(frame, exclude=["games"])
    words = Words()
    found = adapted(world, listen=words.listener)
    assert list(found.failed) == ["games"]
    assert "weigh 0" in found.failed["games"]
    assert "Warning: games was not adapted to" in words
    assert [outcome.domain for outcome in found.done] == ["books", "movies"]
    assert found.done[1].adapter_digest == world.adapt("movies").adapter.info.digest
    assert {r.domain: r.status for r in parts(world, found.run)} == {
        "books": "FINISHED",
        "games": "FAILED",
        "movies": "FINISHED",
    }
    assert world.run(found.run).metrics["domains_failed"] == 1


def test_where_all_diverge_the_first_error_is_raised(world: World) -> None:
    with pytest.raises(DivergedError, match="'books'"):
        adapted(world, "books,movies", {"adapt.learning_rate": 1e30})
    assert "FAILED" in [run.status for run in runs_of(world.store, "adapt-all")]


def test_ctrl_c_keeps_what_is_finished_and_records_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words()
    with monkeypatch.context() as patched:
        patched.setattr(job, "train_adapter", failing("games", KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            adapted(world, listen=words.listener)
    [run] = runs_of(world.store, "adapt-all")
    assert run.status == "KILLED"
    table = read_json(world.artifacts(run.uri) / "domains.json")
    assert [outcome["domain"] for outcome in table["done"]] == ["books"]
    assert "1 of 3 domains are adapted to and recorded" in words
    assert run.metrics["domains"] == 1
    stands = load_adapter(
        world.artifacts(table["done"][0]["run"]) / "adapter", world.load(world.base)
    )
    assert stands.info.domain == "books"


def test_a_rank_that_cannot_be_is_told_before_any_run(world: World) -> None:
    before = world.runs()
    with pytest.raises(ConfigError, match="1 to 8"):
        adapted(world, options={"adapt.rank": 9})
    assert world.runs() == before


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, ["a,b", "books", "movies"]),
        ("movies, books", ["books", "movies"]),
        ("books,books,", ["books"]),
        ("a,b", ["a,b"]),
    ],
)
def test_names_have_commas_between_them_and_a_name_may_have_one(
    asked: str | None, expected: list[str]
) -> None:
    assert named_domains(asked, ["movies", "books", "a,b"]) == expected


@pytest.mark.parametrize("asked", ["books,movis", ","])
def test_a_name_that_the_logs_do_not_have_is_an_error(asked: str) -> None:
    with pytest.raises(NotFoundError, match="There is no domain"):
        named_domains(asked, ["movies", "books"])
