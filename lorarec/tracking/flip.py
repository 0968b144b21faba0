"""Many files and tags of a local store changed as one: written down whole, then carried out.

What is to come lies beside what it replaces before the plan is written. The plan is one file that
is there or not: from then on the change has been decided, whoever opens the store is told that it
is not finished yet, and carrying it out can be begun again after any kill.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from lorarec.errors import StoreError
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import sync
from lorarec.tracking.database import database_path
from lorarec.tracking.refusals import refusals
from lorarec.tracking.versions import GONE

if TYPE_CHECKING:
    from lorarec.tracking.store import Store


class Replacement(Record):
    """A file or folder that takes another's place."""

    staged: str
    """Where it lies until then, beside its place."""
    target: str
    """Its place."""


class VersionTags(Record):
    """Tags of a version of a registered model."""

    name: str
    number: int
    tags: dict[str, str]


class Flip(Record):
    """All that is changed together."""

    format_version: int = FORMAT
    replaced: list[Replacement] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)
    """Files and folders that go."""
    run_tags: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Run id → tags under their full names."""
    version_tags: list[VersionTags] = Field(default_factory=list)
    vacuum: bool = False
    """Whether the database is to forget what its rows held before."""


def plan_path(database: Path) -> Path:
    """Where the plan of a change lies while it is carried out."""
    return database.with_name(f".{database.name}.forgetting.json")


def check_finished(database: Path) -> None:
    """Refuse a store in which a change was decided and not carried out to its end.

    Raises:
        StoreError: There is one; the command that finishes it is told.
    """
    if plan_path(database).exists():
        raise StoreError(
            f"Ids are being forgotten in the store {database}, or that was broken off. Expected a "
            f"store that is whole. Wait, or finish it: lorarec forget --finish"
        )


def carry_out(store: Store, flip: Flip) -> None:
    """Write the plan down, then do it; killed after the first, `finish` does the rest.

    Raises:
        StoreError: The disk or the store refused.
    """
    save_record(_plan_of(store), flip)
    finish(store)


def finish(store: Store) -> bool:
    """Do what is left of a plan; whether there was one.

    Raises:
        ArtifactError: The plan was edited.
        StoreError: The disk or the store refused; what is left of it is done the next time.
    """
    plan = _plan_of(store)
    if not plan.exists():
        return False
    flip = load_record(plan, Flip)
    with refusals(store.uri):
        for each in flip.replaced:
            _replace(Path(each.staged), Path(each.target))
        for path in map(Path, flip.removed):
            _remove(path)
        for run_id, tags in flip.run_tags.items():
            for key, value in tags.items():
                store.client.set_tag(run_id, key, value)
        for version in flip.version_tags:
            _tag(store, version)
        if flip.vacuum:
            _vacuum(store)
        plan.unlink()
    return True


def _replace(staged: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.forgotten.tmp")
    if staged.exists():
        if target.is_dir():
            target.rename(old)
        staged.replace(target)
        sync(target.parent)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tag(store: Store, version: VersionTags) -> None:
    from mlflow.exceptions import MlflowException

    try:
        for key, value in version.tags.items():
            store.client.set_model_version_tag(version.name, str(version.number), key, value)
    except MlflowException as error:
        if error.error_code not in GONE:  # one that was deleted meanwhile needs none
            raise


def _vacuum(store: Store) -> None:
    """SQLite keeps what was overwritten in free pages and in its log until it is made anew."""
    with closing(sqlite3.connect(local_database(store), timeout=60)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _plan_of(store: Store) -> Path:
    return plan_path(local_database(store))


def local_database(store: Store) -> Path:
    """The SQLite file behind a store.

    Raises:
        StoreError: It has none on this machine.
    """
    database = database_path(store.uri)
    if database is None:
        raise StoreError(
            f"The store {store.shown} is no SQLite file of this machine. Expected one: run this "
            f"where its files are, as what a server keeps is out of reach from here."
        )
    return database
