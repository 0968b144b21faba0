"""A run: what it records and how it ends."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.errors import StoreError
from lorarec.storage import read_json
from lorarec.tracking import Store, find_run, open_store, recent_runs, standard_tags
from lorarec.tracking.registry import nested_runs, runs_of

Room = Callable[[int], AbstractContextManager[None]]


def test_a_finished_run_holds_all_that_it_was_told(store: Store, settings: Settings) -> None:
    tags = standard_tags(domain="books", rank=8, base_digest="ab", cutoff=None)
    with store.run(
        "adapt-books-r8", "adapt", params=settings.flat(), tags=tags, config={"seed": 0}
    ) as run:
        run.log_metrics({"loss": 2.0, "valid_recall_at_20": 0.1}, step=0)
        run.log_metrics({"loss": 1.0, "valid_recall_at_20": 0.2}, step=1)
        run.set_tags(standard_tags(adapter_digest="cd"))
        run.log_json("report.json", {"recall": math.nan, "path": Path("a")})
    info = find_run(store, run.id)
    assert (info.status, info.name, info.kind) == ("FINISHED", "adapt-books-r8", "adapt")
    assert (info.domain, info.rank, info.tag("base_digest")) == ("books", 8, "ab")
    assert (info.tag("adapter_digest"), info.tag("cutoff")) == ("cd", None)
    assert info.metrics == {"loss": 1.0, "valid_recall_at_20": 0.2}
    assert info.params["train.epochs"] == str(settings.train.epochs)
    assert info.uri == run.uri == f"runs:/{run.id}"
    assert read_json(f"{info.artifact_uri}/config.json") == {"seed": 0}
    assert read_json(f"{info.artifact_uri}/report.json") == {"recall": None, "path": "a"}
    curve = store.client.get_metric_history(run.id, "loss")
    assert [(point.step, point.value) for point in curve] == [(0, 2.0), (1, 1.0)]


def test_an_exception_ends_it_as_failed_and_goes_on(store: Store) -> None:
    def failing() -> None:
        with store.run("x", "pretrain") as run:
            run.log_metrics({"loss": 1.0})
            raise ZeroDivisionError("boom")

    with pytest.raises(ZeroDivisionError):
        failing()
    info = recent_runs(store)[0]
    assert info.status == "FAILED"
    assert info.tag("error") == "ZeroDivisionError: boom"
    assert info.metrics == {"loss": 1.0}


def test_ctrl_c_ends_it_as_killed(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.run("x", "pretrain") as run:
        raise KeyboardInterrupt
    assert find_run(store, run.id).status == "KILLED"


@pytest.mark.parametrize("place", ["create_run", "log_batch", "set_terminated"])
def test_ctrl_c_again_and_again_leaves_no_run_running(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A signal comes just before or after the store does something for the run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = getattr(store.client, place)

    def interrupted(*args: object, **others: object) -> object:
        if place != "create_run":
            signal.raise_signal(signal.SIGINT)
        found = done(*args, **others)
        signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(store.client, place, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt), store.run("x", "pretrain"):
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert recent_runs(store)[0].status == "KILLED"


def test_metrics_are_buffered_and_none_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    log_batch = store.client.log_batch

    def counted(run_id: str, metrics: tuple = (), **others: object) -> None:  # type: ignore[type-arg]
        sent.extend([len(metrics)] if metrics else [])
        log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr(store.client, "log_batch", counted)
    with store.run("x", "pretrain") as run:
        for step in range(2500):
            run.log_metrics({"loss": float(step)}, step=step)
    assert sent == [1000, 1000, 500]
    assert len(store.client.get_metric_history(run.id, "loss")) == 2500


def test_a_metric_with_an_at_sign_gets_its_legal_name(store: Store) -> None:
    with pytest.raises(ValueError, match="'recall_at_20'"), store.run("x", "evaluate") as run:
        run.log_metrics({"recall@20": 0.1})


def test_params_are_flattened_and_cut_and_as_many_as_there_are(store: Store) -> None:
    params = {"a": {"b": None, "c": [1, 2]}, "long": "x" * 9000, "odd@key": 1}
    with store.run("x", "pretrain", params=params | {f"p{n}": n for n in range(150)}) as run:
        pass
    found = find_run(store, run.id).params
    assert (found["a.b"], found["a.c"], found["odd_key"]) == ("none", "1,2", "1")
    assert len(found["long"]) == 6000
    assert len(found) == 154


def test_an_artifact_stands_whole_or_not_at_all(store: Store) -> None:
    with store.run("x", "pretrain") as run:
        with suppress(ValueError), run.artifact_folder("base") as folder:
            (folder / "base.json").write_text("{}")
            raise ValueError("half")
        assert not Path(find_run(store, run.id).artifact_uri, "base").exists()
        with run.artifact_folder("base") as folder:
            (folder / "base.json").write_text("{}")
    artifacts = Path(find_run(store, run.id).artifact_uri)
    assert [str(file.relative_to(artifacts)) for file in artifacts.rglob("*")] == [
        "base",
        "base/base.json",
    ]


def test_a_folder_is_copied_under_its_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "plots" / "inner").mkdir(parents=True)
    (tmp_path / "plots" / "inner" / "a.txt").write_text("a")
    with store.run("x", "evaluate") as run:
        run.log_artifacts(tmp_path / "plots")
        run.log_artifacts(tmp_path / "plots", "again")
    artifacts = Path(find_run(store, run.id).artifact_uri)
    assert (artifacts / "plots" / "inner" / "a.txt").read_text() == "a"
    assert (artifacts / "again" / "inner" / "a.txt").read_text() == "a"


def test_a_full_disk_fails_the_run_and_leaves_no_artifact(store: Store, room_for: Room) -> None:
    with pytest.raises(StoreError, match="Could not write"), store.run("x", "pretrain") as run:  # noqa: SIM117
        with room_for(4096), run.artifact_folder("base") as folder:
            (folder / "weights").write_bytes(bytes(100_000))
    info = find_run(store, run.id)
    assert info.status == "FAILED"
    assert list(Path(info.artifact_uri).rglob("*")) == []


def test_a_full_disk_under_the_database_is_a_store_error(store: Store, room_for: Room) -> None:
    def failing() -> None:
        with store.run("x", "pretrain") as run, room_for(4096):
            run.log_metrics({"loss": 1.0})
            run.flush()

    with pytest.raises(StoreError, match="disk"):
        failing()
    info = recent_runs(store)[0]
    assert (info.status, info.metrics) == ("FAILED", {"loss": 1.0})


def test_the_store_may_go_away_while_the_first_error_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(store.client, "log_batch", gone)
    monkeypatch.setattr(store.client, "set_terminated", gone)
    with pytest.raises(ZeroDivisionError), store.run("x", "pretrain"):
        raise ZeroDivisionError


def test_a_store_opened_to_read_takes_no_run(project: Path, settings: Settings) -> None:
    store = open_store(settings.tracking, write=False)
    assert recent_runs(store) == []
    with pytest.raises(StoreError, match="opened to read"):
        store.run("x", "pretrain")


def test_unknown_kinds_and_tags_are_mistakes(store: Store) -> None:
    with pytest.raises(ValueError, match="'train' is no kind"), store.run("x", "train"):
        pass
    with pytest.raises(ValueError, match="no standard tags"):
        standard_tags(domian="books")


def test_a_run_may_be_a_part_of_another(store: Store) -> None:
    with store.run("search", "tune") as parent:
        for name in ("first", "second"):
            with store.run(name, "trial", parent=parent.id) as run:
                pass
    with store.run("alone", "trial"):
        pass
    parts = nested_runs(store, parent.id)
    assert [part.name for part in parts] == ["first", "second"]
    assert find_run(store, run.id).tags["mlflow.parentRunId"] == parent.id


def test_trials_are_not_among_the_recent_runs_their_search_is(store: Store) -> None:
    with (
        store.run("search", "tune") as parent,
        store.run("one", "trial", parent=parent.id),
    ):
        pass
    assert [info.name for info in recent_runs(store)] == ["search"]
    assert [info.name for info in runs_of(store, "trial")] == ["one"]


def test_a_run_goes_on_after_it_has_failed(store: Store) -> None:
    with suppress(ZeroDivisionError), store.run("x", "tune", params={"a": 1}) as run:
        run.log_metrics({"best": 0.1}, step=0)
        raise ZeroDivisionError("boom")
    with store.resumed(run.id) as again:
        assert (again.id, again.name, again.kind) == (run.id, "x", "tune")
        assert find_run(store, run.id).status == "RUNNING"
        again.log_metrics({"best": 0.2}, step=1)
        again.log_text("best.toml", "ü = 1\n")
    info = find_run(store, run.id)
    assert (info.status, info.tag("error")) == ("FINISHED", None)
    assert (info.params, info.metrics) == ({"a": "1"}, {"best": 0.2})
    assert Path(info.artifact_uri, "best.toml").read_text(encoding="utf-8") == "ü = 1\n"


def test_a_run_that_goes_on_can_fail_again(store: Store) -> None:
    with store.run("x", "tune") as run:
        pass
    with pytest.raises(KeyboardInterrupt), store.resumed(run.id):
        raise KeyboardInterrupt
    assert find_run(store, run.id).status == "KILLED"


def test_a_run_whose_process_is_gone_is_ended(store: Store) -> None:
    with store.run("x", "tune") as run:
        store.client.update_run(run.id, status="RUNNING")
        store.killed(run.id)
        assert find_run(store, run.id).status == "KILLED"


def test_a_text_takes_the_place_of_the_one_before(store: Store) -> None:
    with store.run("x", "tune") as run:
        for text in ("one", "two"):
            run.log_text("best.toml", text)
    folder = Path(find_run(store, run.id).artifact_uri)
    assert [path.read_text() for path in folder.iterdir()] == ["two"]


def test_a_marked_store_begins_runs_with_its_tags_and_theirs_go_first(store: Store) -> None:
    marked = store.marked(standard_tags(retrain="r1", domain="books"))
    with marked.run("x", "adapt", tags=standard_tags(domain="games")) as run:
        pass
    with store.run("y", "adapt") as other:
        pass
    found = find_run(store, run.id)
    assert (found.tag("retrain"), found.domain) == ("r1", "games")
    assert find_run(store, other.id).tag("retrain") is None
