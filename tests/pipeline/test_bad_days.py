"""What goes wrong overnight: the outcome of each, nothing lost, the champion serving."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable

import polars as pl
import pytest
from plant import FIRST, Plant
from world import Ended

from lorarec.data.prepared.dataset import open_dataset
from lorarec.errors import ArtifactError, ConfigError, PassingError
from lorarec.pipeline import retrain
from lorarec.pipeline.leftovers import clear
from lorarec.pipeline.retrain import Ask
from lorarec.pipeline.retry import Patience
from lorarec.pipeline.state import Journal, save
from lorarec.tracking.processes import HOST
from lorarec.tracking.registry import newest_base, recent_runs, running_runs
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

Unchanged = Callable[[], bool]


def rows_in(plant: Plant) -> int:
    return len(open_dataset(plant.folder / "prepared"))


def test_a_day_with_no_logs(plant: Plant, unchanged: Unchanged) -> None:
    shutil.rmtree(plant.folder / "logs")
    found = plant.run(1)
    assert not found.left_undone
    assert {row.reason for row in found.rows} == {"no new rows"}
    assert "no logs at logs" in plant.words
    assert unchanged()


def test_a_day_twice_is_taken_once(plant: Plant, unchanged: Unchanged) -> None:
    before = rows_in(plant)
    shutil.copy(plant.folder / "logs" / "first.parquet", plant.folder / "logs" / "again.parquet")
    found = plant.run(1)
    assert found.journal.ingested is not None
    assert found.journal.ingested.added == 0
    assert rows_in(plant) == before
    assert unchanged()


def test_a_day_late_is_taken_and_trained_on(plant: Plant) -> None:
    late = plant.day(1).with_columns(pl.col("timestamp") - 60 * 86_400)
    plant.write("late.parquet", late)
    found = plant.run(1, Ask(force_domains=True))
    assert found.journal.ingested is not None
    assert found.journal.ingested.added == late.height
    assert not found.left_undone
    assert (
        f"{late.filter(pl.col('domain') == 'books').height} new train rows of books" in plant.words
    )


def test_a_file_that_changed_after_it_was_taken_is_left_out_and_told(plant: Plant) -> None:
    never = {"pipeline.min_new_rows": 10**6}
    path = plant.write("day1.parquet", plant.day(1))
    plant.run(1, settings=never)
    before = rows_in(plant)
    plant.day(1)[1:].write_parquet(path)
    found = plant.run(1, settings=never)
    assert "has changed since its rows were taken" in found.left_undone["logs/day1.parquet"]
    assert rows_in(plant) == before


def test_a_history_that_cannot_be_read_is_told_and_ends_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(
        "lorarec.pipeline.telling.post", lambda url, message, limit: told.append(message) or ""
    )
    (plant.folder / "retraining" / "history.ndjson").write_text("{\n")
    with pytest.raises(ArtifactError):
        plant.run(1, settings={"pipeline.webhook": "http://127.0.0.1:1/"})
    assert [message["ok"] for message in told] == [False]


def test_a_domain_that_disappears_keeps_its_champion(plant: Plant) -> None:
    only = plant.day(1).vstack(plant.day(2)).filter(pl.col("domain") == "books")
    plant.write("day1.parquet", only)
    found = plant.run(2)
    assert found.journal.idle == {"games": "no new rows"}
    assert (plant.champion("books"), plant.champion("games")) == (2, 1)


def test_a_renamed_domain_is_a_new_one_and_the_old_one_serves_on(plant: Plant) -> None:
    old = pl.read_parquet(plant.folder / "logs" / "first.parquet")
    renamed = old.filter(pl.col("domain") == "games").with_columns(domain=pl.lit("play"))
    plant.write("renamed.parquet", renamed)
    found = plant.run(1)
    assert not found.left_undone
    assert (found.journal.domains or {})["play"].how == "adapt"
    assert plant.champion("games") == 1
    assert plant.champion("play") == 1


def test_a_schema_that_changes_overnight_is_left_out_and_told(
    plant: Plant, unchanged: Unchanged
) -> None:
    plant.write("day1.parquet", plant.day(1).rename({"item_id": "sku"}))
    good = plant.day(2)
    plant.write("day2.parquet", good)
    found = plant.run(2, settings={"pipeline.min_new_rows": 10**6})
    (file,) = found.left_undone
    assert file == "logs/day1.parquet"
    assert "item_id" in found.left_undone[file]
    assert found.journal.ingested is not None
    assert found.journal.ingested.added == good.height
    assert unchanged()


def test_a_base_deleted_under_the_adapters_is_made_anew_and_the_champions_stay(
    plant: Plant, unchanged: Unchanged
) -> None:
    base = newest_base(plant.store)
    assert base is not None
    plant.store.client.delete_run(base.run_id)
    plant.write("day1.parquet", plant.day(1))
    found = plant.run(1)
    assert found.journal.base is not None
    assert found.journal.base.reason == "there is no base"
    assert sorted(found.left_undone) == ["books", "games"]
    assert all("cannot be compared with" in why for why in found.left_undone.values())
    assert unchanged()


def test_a_clock_that_jumped_back_makes_due_once(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1))
    back = plant.run(-400)
    assert back.journal.base is not None
    assert "a clock went back" in back.journal.base.reason
    again = plant.run(-399)
    assert again.journal.base is not None
    assert not again.journal.base.due


def test_rows_dated_later_than_now_move_no_cut_off(plant: Plant) -> None:
    broken = plant.day(1).with_columns(pl.col("timestamp") + 400 * 86_400)
    plant.write("day1.parquet", broken)
    plant.run(1, settings={"pipeline.min_new_rows": 10**6})
    split = open_dataset(plant.folder / "prepared").split
    assert split is not None
    assert split.t_valid is not None
    assert split.t_valid <= FIRST + 86_400
    assert "dated later than now" in plant.words


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 25 * * *", "its hour is '25'"),
        ("0 3 * *", "it has 4"),
        ("x 3 * * *", "its minute is 'x'"),
        ("0 3 * * 9", "its day of the week is '9'"),
    ],
)
def test_an_invalid_cron_line_names_the_field(plant: Plant, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"pipeline\.cron.*{told}"):
        plant.settings.with_options({"pipeline.cron": line})


def test_no_network_for_the_webhook_is_told_and_nothing_else(plant: Plant) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    found = plant.run(1, settings={"pipeline.webhook": url})
    assert "cannot be reached" in found.alert
    assert not found.left_undone


def test_a_damaged_journal_stops_it_before_anything_is_touched(
    plant: Plant, ran: Callable[..., Ended]
) -> None:
    before = len(recent_runs(plant.store, 100))
    (plant.folder / "retraining" / "journal.json").write_text("{")
    found = ran("pipeline", "run")
    assert found.code == 2
    assert "journal.json" in found.err
    assert len(recent_runs(plant.store, 100)) == before


def test_no_run_tells_of_the_webhook(plant: Plant) -> None:
    plant.write("day1.parquet", plant.day(1))
    secret = "http://127.0.0.1:9/secret-of-the-hook"
    plant.run(1, settings={"pipeline.webhook": secret})
    told = [path.read_bytes() for path in plant.folder.rglob("*") if path.is_file()]
    assert not [text for text in told if b"secret-of-the-hook" in text]


def test_a_store_that_does_not_answer_is_asked_again_and_told(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = [], []

    def silent() -> Store:
        asked.append("")
        raise PassingError("the store does not answer")

    monkeypatch.setattr(retrain.telling, "alert", lambda _, what, listen: told.append(what))
    with pytest.raises(PassingError):
        retrain.retrain(plant.settings, silent, FIRST)
    assert len(asked) == plant.settings.pipeline.attempts
    assert [each["error"] for each in told] == ["the store does not answer"]


def test_a_run_killed_on_another_machine_is_closed_with_its_retraining(plant: Plant) -> None:
    work = plant.folder / "retraining"
    left = save(work, Journal.begun(FIRST))
    store = plant.store
    with store.run("adapt", "adapt", tags=standard_tags(retrain=left.id)) as own:
        store.client.set_tag(own.id, HOST, "another")
    with store.run("adapt", "adapt") as other:
        store.client.set_tag(other.id, HOST, "another")
    for run in (own, other):
        store.client.update_run(run.id, status="RUNNING")
    clear(work, store, Patience())
    assert [run.run_id for run in running_runs(store)] == [other.id]
