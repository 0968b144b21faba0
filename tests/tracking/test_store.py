"""Opening the project's store: where it is, what it makes, and how it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.errors import StoreError
from lorarec.tracking import database, find_run, open_store, recent_runs, tracking_uri
from lorarec.tracking.database import NoStoreYetError, alone
from lorarec.tracking.refusals import refusals


def test_the_default_store_stands_in_the_working_directory(
    project: Path, settings: Settings
) -> None:
    store = open_store(settings.tracking)
    assert store.uri == f"sqlite:///{project}/mlruns/mlflow.db"
    assert store.experiment == "lorarec"
    location = store.client.get_experiment(store.experiment_id).artifact_location
    assert location == str(project / "mlruns" / "artifacts")
    assert open_store(settings.tracking).experiment_id == store.experiment_id


def test_mlflow_variables_go_before_the_settings(bare_project: Path, settings: Settings) -> None:
    tracking = settings.with_options({"tracking.uri": "sqlite:///ours.db"}).tracking
    assert tracking_uri(tracking, {}) == f"sqlite:///{bare_project}/ours.db"
    assert tracking_uri(tracking, {"MLFLOW_TRACKING_URI": "http://host:1"}) == "http://host:1"


def test_the_experiment_may_be_named_by_mlflows_variable(project: Path, settings: Settings) -> None:
    assert open_store(settings.tracking, {"MLFLOW_EXPERIMENT_NAME": "shop"}).experiment == "shop"


def test_reading_makes_nothing(bare_project: Path, settings: Settings) -> None:
    with pytest.raises(NoStoreYetError, match="lorarec pretrain"):
        open_store(settings.tracking, write=False)
    assert list(bare_project.iterdir()) == []


def test_a_new_store_is_whole_and_writes_ahead(project: Path) -> None:
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_interrupted_migration_leaves_nothing(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "mlflow_client", interrupted)
    with pytest.raises(KeyboardInterrupt):
        database.make_database(bare_project / "mlflow.db")
    assert list(bare_project.iterdir()) == []


def test_what_a_killed_migration_left_is_removed(project: Path, settings: Settings) -> None:
    left = [project / "mlruns" / f".mlflow.db.0123abcd.tmp{end}" for end in ("", "-wal", "-shm")]
    others = project / "mlruns" / ".another.db.0123abcd.tmp"
    for path in [*left, others]:
        path.write_text("half")
    open_store(settings.tracking, write=False)
    assert all(path.exists() for path in left)
    open_store(settings.tracking)
    assert [path.exists() for path in [*left, others]] == [False, False, False, True]


def test_only_one_at_a_time_makes_the_database(bare_project: Path) -> None:
    made: list[int] = []

    def opened(number: int) -> None:
        with alone(bare_project / "mlflow.db"):
            if not made:
                time.sleep(0.05)
                made.append(number)

    threads = [threading.Thread(target=opened, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_telemetry_and_chatter_are_off(project: Path, settings: Settings, capfd) -> None:  # type: ignore[no-untyped-def]
    store = open_store(settings.tracking)
    with store.run("quiet", "pretrain"):
        pass
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "mlflow" in sys.modules
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_database_is_refused(project: Path, settings: Settings) -> None:
    (project / "mlruns" / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="not a whole SQLite database"):
        open_store(settings.tracking)


def test_a_truncated_database_is_refused(project: Path, settings: Settings) -> None:
    file = project / "mlruns" / "mlflow.db"
    file.write_bytes(file.read_bytes()[:10_000])
    with pytest.raises(StoreError, match="refused"):
        open_store(settings.tracking)


def test_a_folder_in_the_databases_place_is_refused(bare_project: Path, settings: Settings) -> None:
    (bare_project / "mlruns" / "mlflow.db").mkdir(parents=True)
    with pytest.raises(StoreError, match="is a folder"):
        open_store(settings.tracking)


def test_a_file_in_the_folders_place_is_refused(bare_project: Path, settings: Settings) -> None:
    (bare_project / "mlruns").write_text("in the way")
    with pytest.raises(StoreError, match="refused"):
        open_store(settings.tracking)


def test_an_older_schema_says_the_upgrade_command(project: Path, settings: Settings) -> None:
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        connection.commit()
    with pytest.raises(StoreError, match="mlflow db upgrade 'sqlite:////"):
        open_store(settings.tracking)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused_before_any_work(project: Path, settings: Settings) -> None:
    (project / "mlruns").chmod(0o500)
    try:
        with pytest.raises(StoreError, match="is read-only"):
            open_store(settings.tracking)
    finally:
        (project / "mlruns").chmod(0o700)


def test_no_permission_to_write_is_refused_before_any_work(
    project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)
    with pytest.raises(StoreError, match="is read-only"):
        open_store(settings.tracking)


@pytest.fixture
def read_only(
    bare_project: Path, store_template: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The database of a store with one run, in a folder that says it takes no writing."""
    folder = bare_project / "a b ü"
    folder.mkdir()
    shutil.copy(store_template, folder / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    with open_store(settings.tracking).run("x", "pretrain"):
        pass
    store_module = sys.modules["mlflow.store.tracking.sqlalchemy_store"]
    for engine in store_module.SqlAlchemyStore._engine_map.values():
        engine.dispose()
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)
    return folder / "mlflow.db"


def test_a_read_only_store_can_be_read_and_nothing_is_made_beside_it(
    read_only: Path, settings: Settings
) -> None:
    before = sorted(read_only.parent.iterdir())
    store = open_store(settings.tracking, write=False)
    (run,) = recent_runs(store)
    assert (run.name, run.status) == ("x", "FINISHED")
    assert find_run(store, run.run_id).uri == run.uri
    assert sorted(read_only.parent.iterdir()) == before
    assert [path.name for path in Path().iterdir()] == [read_only.parent.name]


def test_a_read_only_store_sees_what_still_lies_in_its_log(
    read_only: Path, settings: Settings
) -> None:
    with closing(sqlite3.connect(read_only)) as open_elsewhere:
        open_elsewhere.execute("UPDATE runs SET name = 'y'")
        open_elsewhere.commit()
        assert Path(f"{read_only}-wal").stat().st_size
        assert recent_runs(open_store(settings.tracking, write=False))[0].name == "y"


def test_a_read_only_store_with_a_log_that_cannot_be_read_says_so(
    read_only: Path, settings: Settings
) -> None:
    Path(f"{read_only}-wal").write_bytes(b"left behind")
    Path(f"{read_only}-shm").unlink(missing_ok=True)
    with pytest.raises(StoreError, match=r"mlflow\.db-wal beside it holds changes"):
        open_store(settings.tracking, write=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_to_write_can_be_read(
    project: Path, settings: Settings
) -> None:
    open_store(settings.tracking)
    (project / "mlruns").chmod(0o500)
    try:
        assert recent_runs(open_store(settings.tracking, write=False)) == []
    finally:
        (project / "mlruns").chmod(0o700)


def test_a_database_opened_read_only_refuses_to_write(project: Path, settings: Settings) -> None:
    uri = f"sqlite:///file:{project}/mlruns/mlflow.db?mode=ro&uri=true"
    with pytest.raises(StoreError, match="it is read-only"):
        open_store(settings.with_options({"tracking.uri": uri}).tracking)


def test_a_server_that_is_down_is_said_soon(
    bare_project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking = settings.with_options({"tracking.uri": "http://127.0.0.1:9"}).tracking
    with pytest.raises(StoreError, match="does not answer"):
        open_store(tracking)


def test_the_file_store_is_refused_with_another(bare_project: Path, settings: Settings) -> None:
    tracking = settings.with_options({"tracking.uri": "file:./mlruns"}).tracking
    with pytest.raises(StoreError, match=r"sqlite:///mlruns/mlflow\.db"):
        open_store(tracking)


def test_a_deleted_experiment_is_refused(project: Path, settings: Settings) -> None:
    store = open_store(settings.tracking)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(StoreError, match="was deleted"):
        open_store(settings.tracking)


def test_a_moved_store_does_not_write_where_it_stood(
    project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "old").mkdir()
    shutil.move(project / "mlruns", project / "old" / "mlruns")
    monkeypatch.chdir(project / "old")
    open_store(settings.tracking)
    (project / "old").rename(project / "new")
    monkeypatch.chdir(project / "new")
    moved = open_store(settings.tracking)
    with pytest.raises(StoreError, match="the store was moved"), moved.run("x", "pretrain"):
        pass
    assert not (project / "old").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("database is locked", "another process"),
        ("database or disk is full", "the disk is full"),
        ("attempt to write a readonly database", "read-only"),
        ("something new\nand more", "something new Expected"),
    ],
)
def test_what_sqlite_says_becomes_a_sentence(text: str, said: str) -> None:
    with pytest.raises(StoreError, match=said), refusals("sqlite:///x.db"):
        raise sqlite3.OperationalError(text)


def test_our_own_mistakes_are_not_blamed_on_the_store() -> None:
    with pytest.raises(KeyError), refusals("sqlite:///x.db"):
        raise KeyError("bug")
