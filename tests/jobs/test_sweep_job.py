"""`--rank 2,4`: an adapter of each rank under one run, one chosen, that one taken from then on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from test_auto_rank_job import unvalidated
from world import World

from lorarec.data.source import DataSource
from lorarec.errors import ConfigError, DataError
from lorarec.jobs import sweep as job
from lorarec.jobs.choose import choose_adapter
from lorarec.jobs.describe_adapter import list_adapters
from lorarec.jobs.listener import SILENT
from lorarec.jobs.named_adapter import find_adapter
from lorarec.jobs.sweep import Swept, sweep
from lorarec.tracking.registry import nested_runs, recent_runs


def swept(world: World, ranks: str = "1,4", base: str | None = None, **options: Any) -> Swept:
    """Of movies."""
    given = {key.replace("__", "."): value for key, value in options.items()}
    settings = world.settings.with_options({"adapt.rank": ranks, **given})
    return sweep(settings, "movies", world.store, base)


def test_each_rank_is_a_run_under_the_sweeps_with_a_real_adapter(world: World) -> None:
    done = swept(world)
    runs = nested_runs(world.store, done.run.removeprefix("runs:/"))
    assert [(run.kind, run.rank, run.status) for run in runs] == [
        ("adapt", 1, "FINISHED"),
        ("adapt", 4, "FINISHED"),
    ]
    for run in runs:
        assert run.params["adapt.rank"] == str(run.rank)
        named = find_adapter(world.store, run.uri, None, SILENT)
        assert set(named.info.config.ranks.values()) == {run.rank}
    alone = world.adapt("movies", {"adapt.rank": 4})
    assert alone.adapter.info.digest == done.adapters[4].adapter.info.digest


def test_the_sweep_records_the_curve_and_the_chosen(world: World) -> None:
    done = swept(world)
    run, folder = world.run(done.run), world.artifacts(done.run)
    assert run.kind == "sweep"
    assert run.tag("adapter_run") == done.chosen.run
    assert run.rank == done.curve.chosen
    assert run.params["adapt.rank"] == "1,4"
    assert json.loads((folder / "ranks.json").read_text())["chosen"] == done.curve.chosen
    assert (folder / "rank_curve.png").read_bytes().startswith(b"\x89PNG")
    history = world.store.client.get_metric_history(run.run_id, "rank/valid_ndcg")
    assert {m.step: m.value for m in history} == done.curve.ndcg


def test_the_points_are_what_each_adapter_validated_at(world: World) -> None:
    done = swept(world)
    for rank, each in done.adapters.items():
        recall = each.adapter.info.metrics["valid_recall_at_20"]
        assert done.curve.points[rank].mean == pytest.approx(recall, abs=1e-6)
        assert done.curve.points[rank].error > 0


@pytest.mark.parametrize("wanted", [1, 4])
def test_later_commands_take_the_chosen_whatever_was_trained_last(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    curve_of = job.curve_of
    monkeypatch.setattr(job, "curve_of", lambda *rest: replace(curve_of(*rest), chosen=wanted))
    done = swept(world)
    digest = done.adapters[wanted].adapter.info.digest
    taken = choose_adapter(world.store, None, world.load(world.base), "movies", SILENT)
    assert taken is not None
    assert taken.info.digest == digest
    assert find_adapter(world.store, "movies", None, SILENT).info.digest == digest
    shown = [run.uri for run in recent_runs(world.store) if run.domain == "movies"]
    assert shown == [done.adapters[wanted].run, done.run]
    listed = {run.uri for run in list_adapters(world.store, "movies")}
    assert listed == {each.run for each in done.adapters.values()}


def test_a_later_adapter_is_taken_before_the_sweeps(world: World) -> None:
    swept(world)
    later = world.adapt("movies", {"adapt.rank": 3})
    assert find_adapter(world.store, "movies", None, SILENT).name == later.run


def test_a_sweep_that_broke_off_has_chosen_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = job.train_adapter

    def broken(settings: Any, *rest: Any) -> Any:
        if settings.adapt.rank == 4:
            raise KeyboardInterrupt
        return train(settings, *rest)

    monkeypatch.setattr(job, "train_adapter", broken)
    with pytest.raises(KeyboardInterrupt):
        swept(world)
    assert world.newest().kind == "sweep"
    assert world.newest().status == "KILLED"
    assert choose_adapter(world.store, None, world.load(world.base), "movies", SILENT) is None
    assert len(list_adapters(world.store, "movies")) == 1


def test_the_logs_are_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, read = [], DataSource.read_again

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return read(*arguments, **options)

    monkeypatch.setattr(DataSource, "read_again", counted)
    swept(world)
    assert len(calls) == 1


def test_a_rank_above_the_dimension_is_refused_before_anything_is_trained(world: World) -> None:
    before = world.runs()
    world.logs.unlink()
    with pytest.raises(ConfigError, match=r"Rank 16 .* 1 to 8"):
        swept(world, "4,16")
    assert world.runs() == before


def test_targets_that_take_no_rank_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="No rank is left to choose"):
        swept(world, adapt__targets="items:2,bias")


def test_without_validation_rows_it_is_refused(world: World) -> None:
    base = world.pretrain(unvalidated(world), "column").run
    before = world.runs()
    with pytest.raises(DataError, match="--rank 1,4 compares ranks by validation"):
        swept(world, base=base)
    assert world.runs() == before


def test_one_adapter_is_not_made_of_several_ranks(world: World) -> None:
    with pytest.raises(ConfigError, match=r"adapt\.rank is 2,4, which is a sweep.*--rank 8"):
        world.adapt("movies", {"adapt.rank": "2,4"})
