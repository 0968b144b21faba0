"""The journal: whole, sealed, in turn; and one retraining at a time."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path
from threading import Timer

import pytest

from lorarec.errors import ArtifactError, StoreError
from lorarec.pipeline.lock import NAME as LOCK
from lorarec.pipeline.lock import alone, is_held
from lorarec.pipeline.state import (
    NAME,
    BaseStep,
    DomainStep,
    Ingested,
    Journal,
    in_turn,
    load,
    save,
)

AT = 1_800_000_000


def step(stage: str = "due", overdue: float = 1.0, **more: object) -> DomainStep:
    return DomainStep(stage=stage, reason="new rows", overdue=overdue, **more)  # type: ignore[arg-type]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    journal = Journal.begun(AT, 7).model_copy(
        update={
            "ingested": Ingested(digest="d", generation=1, rows=9, added=2),
            "base": BaseStep(due=False, reason="young", run="runs:/1", digest="b"),
            "domains": {"b": step(overdue=2.0), "a": step(overdue=1.0, drift=0.1)},
        }
    )
    save(tmp_path, journal)
    assert load(tmp_path) == journal
    assert list((load(tmp_path) or journal).domains or {}) == ["b", "a"]


def test_nothing_is_there_before_the_first(tmp_path: Path) -> None:
    assert load(tmp_path) is None


def test_an_edited_journal_is_refused(tmp_path: Path) -> None:
    save(tmp_path, Journal.begun(AT))
    path = tmp_path / NAME
    path.write_text(path.read_text().replace('"finished": false', '"finished": true'))
    with pytest.raises(ArtifactError):
        load(tmp_path)


def test_what_was_postponed_comes_first_the_next_time(tmp_path: Path) -> None:
    first = Journal.begun(AT).model_copy(
        update={"domains": {"x": step("done", 9.0), "y": step("postponed", 1.0)}}
    )
    assert first.postponed == {"y": 1}
    after = Journal.begun(AT, waited=first.postponed).model_copy(
        update={"domains": {"x": step(overdue=9.0), "y": step("postponed", 1.0)}}
    )
    save(tmp_path, after)
    found = load(tmp_path)
    assert found is not None
    assert list(found.domains or {}) == ["y", "x"]
    assert found.postponed == {"y": 2}


def test_what_failed_is_named_with_its_reason() -> None:
    journal = Journal.begun(AT).model_copy(
        update={
            "ingested": Ingested(
                digest="d", generation=1, rows=9, added=2, refused={"day.csv": "no item_id"}
            ),
            "base": BaseStep(due=True, reason="old", error="diverged"),
            "domains": {"a": step("failed", error="no rows"), "b": step("done")},
        }
    )
    assert journal.failed == {"day.csv": "no item_id", "base": "diverged", "a": "no rows"}


def _hold(work: Path, ready: object, end: object) -> None:
    with alone(work):
        ready.set()  # type: ignore[attr-defined]
        end.wait(30)  # type: ignore[attr-defined]


def test_a_second_retraining_is_refused_and_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    ready, end = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(tmp_path, ready, end))
    other.start()
    assert ready.wait(30)
    assert is_held(tmp_path)
    with pytest.raises(StoreError, match=f"process {other.pid}"), alone(tmp_path):
        pass
    other.kill()
    other.join()
    with alone(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_asking_whether_it_is_held_keeps_no_retraining_out(tmp_path: Path) -> None:
    with alone(tmp_path):
        pass
    with open(tmp_path / LOCK) as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        Timer(0.1, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with alone(tmp_path):
            assert (tmp_path / LOCK).read_text() == str(os.getpid())
    assert (tmp_path / LOCK).read_text() == ""


def test_domains_in_turn_are_told_by_waiting_then_by_what_is_overdue() -> None:
    steps = {"a": step(overdue=1.0), "b": step(overdue=5.0), "c": step(overdue=2.0)}
    assert list(in_turn(steps, {})) == ["b", "c", "a"]
    assert list(in_turn(steps, {"a": 1, "c": 2})) == ["c", "a", "b"]
