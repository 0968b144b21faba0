"""The retraining as Dagster's assets, in this process; and its page in a browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plant import DAY, FIRST, Plant

from lorarec.config import load_settings
from lorarec.errors import ConfigError, PassingError
from lorarec.pipeline import ui
from lorarec.pipeline.history import Row, read, record
from lorarec.pipeline.retrain import Ask
from lorarec.pipeline.state import load
from lorarec.pipeline.ui import CODE, WEBHOOK, prepare_home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [name for name in ("dagster", "dagster_webserver") if not importlib.util.find_spec(name)]
needs_dagster = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    return pytest.importorskip("dagster")


def defined(plant: Plant, days: float) -> Any:
    from lorarec.pipeline.definitions import definitions

    settings = plant.settings.with_options({"pipeline.cron": "0 3 * * *"})
    return definitions(settings, ask=Ask(page=False), clock=lambda: FIRST + days * DAY)


def checks(dagster: Any, instance: Any, domain: str) -> list[Any]:
    """Evaluations of the gate of a domain, newest first."""
    key = dagster.AssetCheckKey(dagster.AssetKey("evaluation"), "gate")
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    events = [each.event.dagster_event.event_specific_data for each in found if each.event]
    return [each for each in events if getattr(each, "partition", None) == domain]


def test_all_is_made_in_this_process_and_the_check_is_the_gates_verdict(
    plant: Plant, dagster: Any
) -> None:
    from lorarec.pipeline.definitions import run_in_process

    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)).vstack(plant.day(3)))
    found = defined(plant, 3)
    with dagster.DagsterInstance.ephemeral() as instance:
        assert run_in_process(found, instance).success
        last = load(plant.folder / "retraining")
        assert last is not None
        assert last.finished
        assert sorted(instance.get_dynamic_partitions("domain")) == ["books", "games"]
        for asset in ("adapter", "evaluation"):
            made = instance.get_materialized_partitions(dagster.AssetKey(asset))
            assert made == {"books", "games"}
        rows = {row.domain: row for row in read(plant.folder / "retraining")[-2:]}
        for name, row in rows.items():
            (told,) = checks(dagster, instance, name)
            assert told.passed is (row.verdict == "promote")
            assert told.metadata["recall@20"].value == row.recall
            assert plant.champion(name) == row.version


def test_lineage_schedule_and_partitions_are_there_for_the_page(plant: Plant, dagster: Any) -> None:
    found = defined(plant, 0)
    (schedule,) = found.schedules
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * *", "UTC")
    graph = found.resolve_asset_graph()
    parents = {
        key.to_user_string(): [each.to_user_string() for each in graph.get(key).parent_keys]
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "logs": [], "base": ["logs"], "adapter": ["base"], "evaluation": ["adapter"]
    }  # fmt: skip
    parts = {
        key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned
    }
    assert parts == {"adapter", "evaluation"}


def test_what_may_pass_is_tried_again_and_what_cannot_is_not(
    plant: Plant, dagster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.pipeline import retrain
    from lorarec.pipeline.definitions import run_in_process

    plain, tries = retrain.ingest, []

    def locked(*arguments: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise PassingError("The store is locked.")
        return plain(*arguments)

    monkeypatch.setattr(retrain, "ingest", locked)
    with dagster.DagsterInstance.ephemeral() as instance:
        assert run_in_process(defined(plant, 1), instance).success
        assert len(tries) == 2

        def wrong(*_: Any) -> Any:
            tries.append(1)
            raise ConfigError("No logs are named.")

        monkeypatch.setattr(retrain, "ingest", wrong)
        with pytest.raises(dagster.Failure, match="No logs are named"):
            run_in_process(defined(plant, 2), instance)
        assert len(tries) == 3
    broken = load(plant.folder / "retraining")
    assert broken is not None
    assert "No logs are named" in broken.error


def test_one_that_was_broken_off_is_not_done_twice(
    plant: Plant, dagster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.pipeline import retrain
    from lorarec.pipeline.definitions import run_in_process

    plant.write("day1.parquet", plant.day(1).vstack(plant.day(2)).vstack(plant.day(3)))
    plain = retrain.Flow.rest
    monkeypatch.setattr(retrain.Flow, "rest", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        plant.run(3)
    monkeypatch.setattr(retrain.Flow, "rest", plain)
    before = load(plant.folder / "retraining")
    assert before is not None
    assert not before.finished
    with dagster.DagsterInstance.ephemeral() as instance:
        assert run_in_process(defined(plant, 4), instance).success
    after = load(plant.folder / "retraining")
    assert after is not None
    assert after.id == before.id
    assert after.ingested == before.ingested
    assert after.finished


def test_without_dagster_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'lorarec\[pipelines\]'"):
        ui.need_dagster()


def test_the_webhook_comes_to_the_page_by_the_environment_and_stands_in_no_file(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "https://hooks.example.com/secret"
    settings = load_settings(overrides=[f"pipeline.webhook={secret}", "pipeline.cron=0 3 * * *"])
    home = prepare_home(settings)
    assert all(secret not in path.read_text() for path in home.iterdir())
    monkeypatch.setenv(WEBHOOK, secret)
    monkeypatch.setenv("LORAREC_PIPELINE__CRON", "1 1 * * *")
    seen: list[Any] = []
    monkeypatch.setattr(
        "lorarec.pipeline.definitions.definitions",
        lambda file, environ: seen.append(load_settings(Path(file), environ)),
    )
    exec((home / CODE).read_text(), {})
    assert seen == [settings]


def row(number: int, domain: str, verdict: str) -> Row:
    return Row(f"r{number}", FIRST + number * DAY, domain, verdict, recall=0.25, bytes=100)


def test_the_history_is_brought_over_once(tmp_path: Path, dagster: Any) -> None:
    from lorarec.config import Settings
    from lorarec.pipeline.events import bring_over

    settings = Settings().with_options({"pipeline.work": str(tmp_path)})
    record(tmp_path, [row(1, "books", "promote"), row(1, "games", "keep-champion")])
    with dagster.DagsterInstance.ephemeral() as instance:
        assert bring_over(settings, instance) == 1
        assert bring_over(settings, instance) == 0
        record(tmp_path, [row(2, "books", "keep-champion"), row(2, "games", "failed")])
        assert bring_over(settings, instance) == 1
        assert [each.passed for each in checks(dagster, instance, "books")] == [False, True]
        assert [each.passed for each in checks(dagster, instance, "games")] == [False]


def test_a_retraining_in_which_nothing_was_due_is_never_brought_over(
    tmp_path: Path, dagster: Any
) -> None:
    from lorarec.config import Settings
    from lorarec.pipeline.events import RETRAIN, bring_over

    settings = Settings().with_options({"pipeline.work": str(tmp_path)})
    record(tmp_path, [row(1, "books", "promote"), row(2, "books", "idle")])
    with dagster.DagsterInstance.ephemeral() as instance:
        assert bring_over(settings, instance) == 1
        assert bring_over(settings, instance) == 0
        assert [run.tags[RETRAIN] for run in instance.get_runs()] == ["r1"]


@needs_dagster
@needs_browser
def test_a_browser_finds_the_domains_and_the_last_verdict(bare_project: Path) -> None:
    record(bare_project / "retraining", [row(1, "books", "promote"), row(1, "games", "keep-base")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = bare_project / "said.txt"
    command = [sys.executable, "-m", "lorarec", "pipeline", "ui", "--port", str(port), "--no-open"]
    with open(said, "w") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 120
        while "Dagster is at" not in said.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, said.read_text()
            time.sleep(0.2)
        page = f"http://127.0.0.1:{port}/assets/evaluation?view=partitions&partition=games"
        text = ""
        while "keep-base" not in text and time.monotonic() < deadline:
            text = dom(page, bare_project)
        assert "keep-base" in text
        assert "books" in text
        assert "games" in text
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def dom(page: str, folder: Path) -> str:
    """What a browser has made of a page after its scripts ran."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--no-first-run", f"--user-data-dir={folder / 'browser'}", "--dump-dom",
             "--virtual-time-budget=15000"]  # fmt: skip
    assert CHROMIUM is not None
    found = subprocess.run([CHROMIUM, *flags, page], capture_output=True, text=True, timeout=60)
    return found.stdout
