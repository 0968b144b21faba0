"""The SQLite file behind the default store: checked, locked while it is made, made whole."""

from __future__ import annotations

import fcntl
import glob
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lorarec.errors import StoreError
from lorarec.storage import atomic_path, beside
from lorarec.tracking.interrupts import held
from lorarec.tracking.quiet import mlflow_client

SQLITE = "sqlite:///"


class ReadOnlyStoreError(StoreError):
    """The store is there and cannot be written to; it can be opened to read."""


class NoStoreYetError(StoreError):
    """There is no store to read: nothing has been recorded here."""


def database_path(uri: str) -> Path | None:
    """The file of an absolute SQLite URI; None for any other store."""
    path = uri.removeprefix(SQLITE)
    return Path(path) if uri.startswith(SQLITE) and path.startswith("/") else None


def check_database(database: Path, *, write: bool) -> None:
    """Refuse early, before MLflow is imported, what can be seen from outside.

    Raises:
        NoStoreYetError: `write` is False and there is no file.
        ReadOnlyStoreError: `write` is True and it cannot be written to.
        StoreError: It is a folder.
        sqlite3.Error: It is no SQLite database.
    """
    if database.is_dir():
        raise StoreError(
            f"{database} is a folder. Expected an SQLite file. "
            f"Correct MLFLOW_TRACKING_URI or tracking.uri."
        )
    if not database.exists() and not write:
        raise NoStoreYetError(
            f"There is no MLflow store at {database} yet. Expected one that a command made. "
            f"Begin with: lorarec pretrain --data PATH"
        )
    if write:
        database.parent.mkdir(parents=True, exist_ok=True)
    places = [database.parent, database] if database.exists() else [database.parent]
    if write and not all(os.access(place, os.W_OK) for place in places):
        raise ReadOnlyStoreError(
            f"The MLflow store {database} is read-only. Expected one that can be written to. "
            f"Make it writable, or choose another store with MLFLOW_TRACKING_URI or tracking.uri."
        )
    if database.exists():
        reading = f"{database.as_uri()}?{reading_options(database) or 'mode=ro'}"
        with closing(sqlite3.connect(reading, uri=True)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()


def reading_options(database: Path) -> str | None:
    """How SQLite must open a database that we may read and not write; None where we may write.

    Write-ahead logging wants its helper files beside the database even to read. Where the folder
    takes no new file, SQLite is told that nothing changes meanwhile, and then it needs none; but it
    would also not see what lies in a log that is there, and so reads with that one's index.

    Raises:
        StoreError: The log holds changes and its index is gone.
    """
    folder, file = (os.access(place, os.W_OK) for place in (database.parent, database))
    if folder and file:
        return None
    logs = [Path(f"{database}{end}") for end in ("-wal", "-journal")]
    waiting = [log for log in logs if log.exists() and log.stat().st_size]
    if folder or not waiting:
        return "mode=ro" if folder else "mode=ro&immutable=1"
    if waiting[0].name.endswith("-wal") and Path(f"{database}-shm").exists():
        return "mode=ro"
    raise StoreError(
        f"The MLflow store {database} is read-only and {waiting[0].name} beside it holds changes "
        f"that were never folded in, as after a crash; SQLite cannot do that here. Expected a "
        f"store that was closed. Run lorarec runs once where it can be written to, or copy the "
        f"folder to such a place."
    )


def reading_uri(uri: str) -> str:
    """The URI to read a store by: the same, or for a read-only SQLite file one that SQLite takes.

    Args:
        uri: Of a store that is there.
    """
    database = database_path(uri)
    if database is None or (options := reading_options(database)) is None:
        return uri
    # With its driver named: of `sqlite:///file:...` MLflow would make the folders `file:/...`.
    return f"sqlite+pysqlite:///{database.as_uri()}?{options}&uri=true"


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """One process at a time: MLflow's first migration crashes when several begin it at once."""
    if not os.access(database.parent, os.W_OK):
        yield
        return
    with open(database.with_name(f".{database.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_database(database: Path) -> None:
    """Make an empty store of this MLflow's schema, whole or not at all.

    MLflow migrates step by step, for seconds, and cannot go on from half a database; so that
    happens beside it. Write-ahead logging lets readers and a writer work side by side. The caller
    holds the lock of `alone`.

    Raises:
        StoreError: The disk is full or read-only.
        MlflowException: The migration failed.
    """
    migrating = beside(database)
    try:
        mlflow_client(SQLITE + str(migrating))
        with atomic_path(database) as whole:
            with closing(sqlite3.connect(migrating)) as connection:
                connection.execute("VACUUM INTO ?", (str(whole),))
            with closing(sqlite3.connect(whole)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
    finally:
        with held():
            remove_unfinished(database)


def remove_unfinished(database: Path) -> None:
    """Remove what this process, or one that was killed, left of a store in the making.

    Only the holder of the lock may: nobody else is making the store then.
    """
    for left in database.parent.glob(f".{glob.escape(database.name)}.*.tmp*"):
        left.unlink(missing_ok=True)
