"""Removing runs and versions, in steps of which each can be the last before the process is killed.

A run is marked first, then deleted as MLflow deletes (it leaves all searches, its metrics stay in
the database), and then its artifacts go. What is marked and still has some was broken off.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.errors import StoreError
from lorarec.storage import UNFINISHED, bytes_of
from lorarec.tracking.database import database_path
from lorarec.tracking.info import RunInfo, run_info
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import TAG, local_folder
from lorarec.tracking.versions import GONE, Version

if TYPE_CHECKING:
    from lorarec.tracking.store import Store

COLLECTED = f"{TAG}collected"
"""Tag of a run that was removed: when, ISO 8601."""
PAGE = 200
_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Leftover:
    """What nobody refers to and no run is making."""

    path: Path
    why: str


def delete_version(store: Store, version: Version) -> None:
    """Delete a version of a registered model; its run and artifact stay.

    Raises:
        StoreError: The store refused.
    """
    with refusals(store.uri):
        store.client.delete_model_version(version.name, str(version.number))


def remove_run(store: Store, info: RunInfo) -> None:
    """Mark a run, delete it, and remove its artifacts.

    Raises:
        StoreError: The store or the disk refused.
    """
    artifact_folder(store, info)  # refused before it is deleted
    with refusals(store.uri):
        stamp = datetime.now(tz=UTC).isoformat(timespec="seconds")
        store.client.set_tag(info.run_id, COLLECTED, stamp)
        store.client.delete_run(info.run_id)
    remove_artifacts(store, info)


def remove_artifacts(store: Store, info: RunInfo) -> None:
    """Remove all artifacts of a run that was deleted.

    Raises:
        StoreError: The store or the disk refused, or they lie where no run of ours keeps any.
    """
    folder = artifact_folder(store, info)
    if folder is None:
        if local_folder(info.artifact_uri) is None:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            with refusals(store.uri):
                get_artifact_repository(info.artifact_uri, store.uri).delete_artifacts()
        return
    if folder.name != "artifacts" or folder.parent.name != info.run_id:
        raise StoreError(
            f"The run {info.run_id} keeps its artifacts in {folder}. Expected a folder "
            f"{info.run_id}/artifacts, as lorarec makes them; remove it by hand."
        )
    with refusals(store.uri):
        shutil.rmtree(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def half_removed(store: Store) -> list[RunInfo]:
    """Runs that were marked and deleted and whose artifacts are still there.

    Raises:
        StoreError: The store refused, or artifacts lie outside of it.
    """
    from mlflow.entities import ViewType

    found: list[RunInfo] = []
    token = None
    while store.experiment_id is not None:
        with refusals(store.uri):
            page = store.client.search_runs(
                [store.experiment_id],
                filter_string=f"tags.`{COLLECTED}` != ''",
                run_view_type=ViewType.DELETED_ONLY,
                max_results=PAGE,
                page_token=token,
            )
        found += [info for run in page if artifact_folder(store, info := run_info(run)) is not None]
        token = page.token
        if not token:
            break
    return found


def artifact_folder(store: Store, info: RunInfo) -> Path | None:
    """The folder of a run's artifacts; None where they are remote or there is none.

    Beside the store goes before where the run says: a copy of a store names the original's.

    Raises:
        StoreError: They lie outside of the local store, where they may be another's.
    """
    local = local_folder(info.artifact_uri)
    if local is None:
        return None
    root = store.artifact_root
    if root is None:
        return local if local.is_dir() else None
    beside = root / info.run_id / "artifacts"
    if beside.is_dir() or not local.is_dir():
        return beside if beside.is_dir() else None
    if not local.resolve().is_relative_to(root.resolve()):
        raise StoreError(
            f"The run {info.run_id} keeps its artifacts in {local}, outside of the store's {root}: "
            f"the store was copied without them, or they are another's. Expected them in {beside}. "
            f"Copy them there, or run this where the original store is."
        )
    return local


def artifact_bytes(store: Store, info: RunInfo) -> int:
    """Bytes of all artifacts of a run.

    Raises:
        StoreError: The store refused, or they lie outside of it.
    """
    if local_folder(info.artifact_uri) is not None:
        folder = artifact_folder(store, info)
        return 0 if folder is None else bytes_of(folder)
    waiting: list[str | None] = [None]
    size = 0
    while waiting:
        with refusals(store.uri):
            for entry in store.client.list_artifacts(info.run_id, waiting.pop()):
                if entry.is_dir:
                    waiting.append(entry.path)
                size += entry.file_size or 0
    return size


def on_base(store: Store, digest: str) -> Iterator[tuple[str, RunInfo]]:
    """Runs of all projects of the store that name a base: the experiment's name, and the run.

    Raises:
        StoreError: The store refused.
    """
    with refusals(store.uri):
        names = {e.experiment_id: e.name for e in store.client.search_experiments()}
    token = None
    while names:
        with refusals(store.uri):
            page = store.client.search_runs(
                list(names),
                filter_string=f"tags.`{TAG}base_digest` = '{digest}'",
                max_results=PAGE,
                page_token=token,
            )
        yield from ((names[run.info.experiment_id], run_info(run)) for run in page)
        token = page.token
        if not token:
            return


def leftovers(store: Store) -> list[Leftover]:
    """Half-written files that killed processes left, of runs of this project that have ended.

    Raises:
        StoreError: The store refused.
    """
    return [
        Leftover(path, f"half-written, of a run that ended {status}")
        for folder in _run_folders(store)
        if (status := _status(store, folder.name)) not in (None, "RUNNING", "")
        for path in sorted(folder.rglob(UNFINISHED))
    ]


def orphans(store: Store) -> list[Leftover]:
    """Folders in the artifact folder of a local store of runs that no project of it has.

    They may be of a newer state of the database, or of `other_databases`.

    Raises:
        StoreError: The store refused.
    """
    why = "of a run that the store does not have"
    return [Leftover(f, why) for f in _run_folders(store) if _status(store, f.name) is None]


def other_databases(store: Store) -> list[Path]:
    """Other SQLite files beside a local store's, whose artifacts lie in the same folder."""
    own = database_path(store.uri)
    return [] if own is None else sorted(f for f in own.parent.glob("*.db") if f.name != own.name)


def _run_folders(store: Store) -> list[Path]:
    root = store.artifact_root
    if root is None or not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if _RUN_ID.fullmatch(folder.name))


def remove_leftover(store: Store, left: Leftover) -> None:
    """Remove one of `leftovers` or `orphans`.

    Raises:
        StoreError: The disk refused.
    """
    with refusals(store.uri):
        if left.path.is_dir():
            shutil.rmtree(left.path)
        else:
            left.path.unlink(missing_ok=True)


def _status(store: Store, run_id: str) -> str | None:
    """How a run of this project stands; "" for another project's, None where no project has it."""
    from mlflow.exceptions import MlflowException

    with refusals(store.uri):
        try:
            info = store.client.get_run(run_id).info
        except MlflowException as error:
            if error.error_code not in GONE:
                raise
            return None
    return str(info.status) if info.experiment_id == store.experiment_id else ""
