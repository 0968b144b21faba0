"""The SQLite file behind the default store: checked, locked while it is made, made whole."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lorarec.errors import StoreError
from lorarec.storage import atomic_path
from lorarec.tracking.quiet import mlflow_client

SQLITE = "sqlite:///"


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
        StoreError: It is a folder, or read-only.
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
        raise StoreError(
            f"The MLflow store {database} is read-only. Expected one that can be written to. "
            f"Make it writable, or choose another store with MLFLOW_TRACKING_URI or tracking.uri."
        )
    if database.exists():
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()


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
    happens beside it. Write-ahead logging lets readers and a writer work side by side.

    Raises:
        StoreError: The disk is full or read-only.
        MlflowException: The migration failed.
    """
    migrating = database.with_name(f".{database.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        mlflow_client(SQLITE + str(migrating))
        with atomic_path(database) as whole:
            with closing(sqlite3.connect(migrating)) as connection:
                connection.execute("VACUUM INTO ?", (str(whole),))
            with closing(sqlite3.connect(whole)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{migrating}{suffix}").unlink(missing_ok=True)
