"""The flow: what a retraining does, and how one that was broken off goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from plant import DAY, FIRST, Plant

from lorarec.errors import ConfigError, PassingError, TrainingError
from lorarec.jobs.pretrain import pretrain
from lorarec.pipeline import points, retrain
from lorarec.pipeline.history import read
from lorarec.pipeline.retrain import Ask
from lorarec.pipeline.state import load
from lorarec.storage import UNFINISHED
from lorarec.tracking.champions import ROLLBACK, move, reign
from lorarec.tracking.registry import recent_runs, running_runs
from lorarec.tracking.versions import versions

LAST = FIRST + 15 * DAY


def kinds(plant: Plant) -> Counter[str]:
    return Counter(run.kind for run in recent_runs(plant.store, 500))


def test_the_first_time_makes_a_base_and_an_adapter_of_each_domain(plant: Plant) -> None:
    rows = {row.domain: row for row in read(plant.folder / "retraining")}
    assert sorted(rows) == ["books", "games"]
    assert kinds(plant) == {"pretrain": 1, "adapt": 2, "gate": 2}
    for name, row in rows.items():
        assert row.verdict == "promote"
        assert row.version == plant.champion(name) == 1
        assert row.recall is not None
        assert row.recall > 0
        assert row.fresh_days == pytest.approx(10, abs=0.5)


def test_a_day_later_adapters_go_on_and_the_base_stays(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)).vstack(plant.day(3)))
    found = plant.run(3)
    assert found.journal.base is not None
    assert not found.journal.base.due
    assert {step.how for step in (found.journal.domains or {}).values()} == {"continue"}
    assert [row.version for row in found.rows] == [2, 2]
    assert kinds(plant) == {"pretrain": 1, "adapt": 4, "gate": 4}


def test_old_adapters_go_where_that_is_asked_for_and_the_champion_stays(plant: Plant) -> None:
    first = next(run for run in recent_runs(plant.store) if run.kind == "adapt")
    for number in (1, 2, 3):
        plant.write(f"day{number}.parquet", plant.day(number))
        found = plant.run(number, settings={"pipeline.keep_adapters": 1})
        assert not found.left_undone
    left = {run.run_id for run in recent_runs(plant.store, 500)}
    assert first.run_id not in left
    assert {name: plant.champion(name) for name in ("books", "games")} == {"books": 4, "games": 4}
    assert {found.number for found in versions(plant.store, "lorarec-books")} == {3, 4}


def test_challenger_and_champion_are_judged_after_the_challengers_cut_off(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)).vstack(plant.day(3)))
    found = plant.run(3)
    step = (found.journal.domains or {})["books"]
    adapter, gate = (
        next(run for run in recent_runs(plant.store) if run.uri == uri)
        for uri in (step.run, step.gate_run)
    )
    assert gate.tag("data_digest") == adapter.tag("data_digest") == found.journal.ingested.digest  # type: ignore[union-attr]
    first = next(run for run in recent_runs(plant.store) if run.kind == "pretrain")
    assert int(gate.tag("cutoff") or 0) > int(first.tag("cutoff") or 0)


def test_an_old_base_is_retrained_and_adapters_are_brought_to_it(plant: Plant) -> None:
    plant.write("week.parquet", plant.day(8))
    found = plant.run(8)
    assert found.journal.base is not None
    assert "8.0 days old" in found.journal.base.reason
    assert {step.how for step in (found.journal.domains or {}).values()} == {"rebase"}
    assert {row.base for row in found.rows} == {found.journal.base.digest}


def test_without_new_rows_nothing_is_due_and_nothing_moves(
    plant: Plant, unchanged: Callable[[], bool]
) -> None:
    before = kinds(plant)
    found = plant.run(1)
    assert {row.verdict for row in found.rows} == {"idle"}
    assert kinds(plant) == before
    assert unchanged()


def test_one_bad_domain_stops_no_other_and_keeps_its_champion(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = retrain.train_domain

    def bad(settings: Any, store: Any, name: str, domain: str, *more: Any) -> Any:
        if domain == "books":
            raise TrainingError("the loss is not finite")
        return plain(settings, store, name, domain, *more)

    monkeypatch.setattr(retrain, "train_domain", bad)
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    found = plant.run(2)
    assert {row.domain: row.verdict for row in found.rows} == {
        "books": "failed",
        "games": "promote",
    }
    assert found.left_undone == {"books": "the loss is not finite"}
    assert (plant.champion("books"), plant.champion("games")) == (1, 2)


def test_a_bug_in_one_domain_stops_no_other(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(*_: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(retrain, "gate", bad)
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    found = plant.run(2)
    assert set(found.left_undone.values()) == {"ZeroDivisionError: division by zero"}


def test_a_gate_that_failed_is_asked_again_without_training(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(*_: Any) -> Any:
        raise TrainingError("it could not decide")

    old = pl.read_parquet(plant.folder / "logs" / "first.parquet")
    games = old.filter(pl.col("domain") == "games")
    plant.write("play.parquet", games.with_columns(domain=pl.lit("play")))
    with monkeypatch.context() as patch:
        patch.setattr(retrain, "gate", bad)
        assert list(plant.run(1).left_undone) == ["play"]
    made = kinds(plant)["adapt"]
    found = plant.run(2)
    assert {row.domain: row.verdict for row in found.rows if row.verdict != "idle"} == {
        "play": "promote"
    }
    assert kinds(plant)["adapt"] == made


def test_what_may_pass_is_tried_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = retrain.gate, []

    def flaky(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise PassingError("the store is locked")
        return plain(*arguments)

    monkeypatch.setattr(retrain, "gate", flaky)
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    assert not plant.run(2).left_undone
    assert len(calls) == 3


def test_when_the_time_is_up_domains_wait_and_come_first_the_next_time(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    # The first domain is begun at once, and takes all the time there is.
    ticks = iter([1.0, *[1e9] * 9])
    with monkeypatch.context() as patch:
        patch.setattr(retrain.Flow, "elapsed", lambda _: next(ticks))
        found = plant.run(2, settings={"pipeline.budget_seconds": 60})
    (late,) = found.journal.postponed
    assert {row.verdict for row in found.rows} == {"promote", "postponed"}
    assert not found.left_undone
    plant.write("day3.parquet", plant.day(3).vstack(plant.day(4)))
    again = plant.run(4)
    assert next(iter(again.journal.domains or {})) == late


def test_asked_for_domains_alone_are_adapted(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1))
    found = plant.run(1, Ask(domains=("games",)))
    assert list(found.journal.domains or {}) == ["games"]


def test_no_logs_named_is_told(plant: Plant) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.logs"):
        plant.run(1, settings={"pipeline.logs": []})


class Crash(BaseException):
    """A process that ends here and now."""


@pytest.mark.parametrize(
    "point",
    [
        "train-after:1",
        "gate-before:2",
        "gate-after:1",
        "alias-before:1",
        "alias-after:1",
        "history-after:1",
    ],
)
def test_broken_off_anywhere_it_goes_on_where_it_was(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def crash(*_: Any) -> None:
        raise Crash

    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    points.passed.clear()
    with monkeypatch.context() as patch:
        patch.setattr("os.kill", crash)
        patch.setenv(points.STOP_AT, point)
        with pytest.raises(Crash):
            plant.run(2)
    left = load(plant.folder / "retraining")
    assert left is not None
    assert not left.finished
    found = plant.run(3)
    assert found.resumed
    assert found.journal.id == left.id
    assert [(row.verdict, row.version) for row in found.rows] == [("promote", 2)] * 2
    assert kinds(plant)["adapt"] == 4  # no training was done twice
    assert [version.number for version in versions(plant.store, "lorarec-books")] == [1, 2]
    assert running_runs(plant.store) == []
    assert not list(plant.folder.rglob(UNFINISHED))


def test_another_base_since_it_broke_off_is_gone_on_with(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise Crash

    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    with monkeypatch.context() as patch:
        patch.setattr(retrain, "train_domain", crash)
        with pytest.raises(Crash):
            plant.run(2, Ask(domains=("books",)))
    left = load(plant.folder / "retraining")
    pretrain(plant.settings, [Path("prepared")], plant.store)
    found = plant.run(2, Ask(domains=("books",)))
    assert left is not None
    assert left.base is not None
    assert found.journal.base is not None
    assert found.journal.base.run != left.base.run
    assert (found.journal.id != left.id, found.resumed) == (True, False)
    assert not found.left_undone


def test_one_that_was_broken_off_can_be_given_up(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise Crash

    points.passed.clear()
    with monkeypatch.context() as patch:
        patch.setattr("os.kill", crash)
        patch.setenv(points.STOP_AT, "step-base-before:1")
        with pytest.raises(Crash):
            plant.run(1)
    assert not plant.run(2, Ask(anew=True)).resumed


def test_an_index_of_each_new_champion_is_built_and_named_the_newest(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    found = plant.run(2, settings={"pipeline.index": "Flat"})
    assert not found.left_undone
    newest = plant.folder / "retraining" / "indexes" / "lorarec-books" / "newest"
    assert newest.readlink() == Path("2")
    assert (newest / "index.json").is_file()


def test_a_registered_write_is_a_point_only_where_a_test_asks(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = plant.store
    assert points.watched(store) is store
    monkeypatch.setenv(points.POINTS, str(tmp_path / "points.txt"))
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    plant.run(2)
    passed = set((tmp_path / "points.txt").read_text().split())
    assert {"rename-before", "registry-after", "alias-before", "journal-after"} <= passed


def test_a_champion_that_moves_meanwhile_is_measured_against_anew(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import promote

    plain, measured = promote._judged, []

    def overtaken(settings: Any, domain: str, store: Any, contender: Any, *more: Any) -> Any:
        found = plain(settings, domain, store, contender, *more)
        measured.append((domain, more[0] is None))
        if len(measured) == 1:  # another process is faster
            move(store, reign(store, domain), None, ROLLBACK)
        return found

    monkeypatch.setattr(promote, "_judged", overtaken)
    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)))
    found = plant.run(2, Ask(domains=("books",)))
    assert measured == [("books", False), ("books", True)]
    assert [(row.verdict, row.version) for row in found.rows] == [("promote", 2)]
    assert "is another one now" in plant.words or "moved it meanwhile" in plant.words


def test_what_was_broken_off_before_anything_was_done_begins_anew(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise Crash

    plant.write("day1.parquet", plant.day(1))
    with monkeypatch.context() as patch:
        patch.setattr(retrain, "ingest", crash)
        with pytest.raises(Crash):
            plant.run(1)
    plant.write("day2.parquet", plant.day(2))
    found = plant.run(2)
    assert not found.resumed
    assert found.journal.ingested is not None
    assert found.journal.ingested.added == plant.day(1).height + plant.day(2).height


def test_the_report_of_all_domains_is_written_where_it_is_asked_for(plant: Plant) -> None:
    told = {"pipeline.report": True, "gate.part": "test", "evaluate.arms": ["base", "lora"]}
    plant.write("days.parquet", plant.logs.filter(pl.col("timestamp").is_between(FIRST, LAST)))
    found = plant.run(15, settings=told)
    assert not found.left_undone
    (page,) = (plant.folder / "retraining" / "reports").glob("*.html")
    assert "books" in page.read_text(encoding="utf-8")


def test_a_sweep_of_ranks_is_refused_at_once(plant: Plant) -> None:
    with pytest.raises(ConfigError, match="sweep"):
        plant.run(1, settings={"adapt.rank": [2, 4]})
