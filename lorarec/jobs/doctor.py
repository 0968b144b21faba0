"""What is wrong with a store, and what of it can be mended: runs that killed processes left."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lorarec.errors import LorarecError, StoreError
from lorarec.jobs.listener import SILENT
from lorarec.jobs.named_adapter import base_of, find_adapter
from lorarec.storage import UNFINISHED
from lorarec.tracking.champions import reign
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import model_name
from lorarec.tracking.processes import Fate, fate
from lorarec.tracking.registry import running_runs
from lorarec.tracking.removal import artifact_folder
from lorarec.tracking.store import Store
from lorarec.tracking.versions import registered_domains


@dataclass(frozen=True)
class LeftRun:
    """A run that is recorded as running."""

    run: RunInfo
    process: Fate
    """What became of the process that began it."""
    closed: bool
    """Whether it was closed as KILLED; with `dry_run` whether it would be."""
    unfinished: int
    """Half-written files and folders of it that were removed, or would be."""


@dataclass(frozen=True)
class Champion:
    """The champion of a domain."""

    domain: str
    uri: str
    trouble: str
    """Why it cannot be used; empty where it can."""


@dataclass(frozen=True)
class Examined:
    """What was found."""

    store: str
    runs: list[LeftRun]
    champions: list[Champion]
    dry_run: bool

    @property
    def healthy(self) -> bool:
        """Whether nothing is left to be done."""
        mended = all(left.process == "alive" or left.closed for left in self.runs)
        found_only = self.dry_run and any(left.closed for left in self.runs)
        return mended and not found_only and not any(each.trouble for each in self.champions)


def examine(
    store: Store,
    *,
    dry_run: bool = False,
    every: bool = False,
    older_than: timedelta | None = None,
) -> Examined:
    """Close runs whose process is gone, and see whether every champion can be used.

    Of a run that does not say which process began it (of before that was recorded), or whose
    process is on another machine, nobody here can tell; it is closed only where that is asked for.
    A run whose process is alive is never closed.

    Args:
        store: Opened to write.
        dry_run: Change nothing.
        every: Close those too of which it is not known.
        older_than: Close those too of which it is not known and that began longer ago.

    Raises:
        StoreError: The store refused.
    """
    found = close_dead(store, dry_run=dry_run, every=every, older_than=older_than)
    champions = [_champion(store, domain) for domain in registered_domains(store)]
    return Examined(store.uri, found, [each for each in champions if each], dry_run)


def close_dead(
    store: Store,
    *,
    dry_run: bool = False,
    every: bool = False,
    older_than: timedelta | None = None,
    retrain: str | None = None,
) -> list[LeftRun]:
    """The first half of `examine`, with the same arguments: runs that are recorded as running.

    Args:
        store: As `examine` takes it, and so are those that follow.
        dry_run: Close none.
        every: Those whose process cannot be known of, too.
        older_than: Those of them that are older.
        retrain: Those of them that are of the retraining of this id, which nobody is at work on.

    Raises:
        StoreError: The store refused.
    """
    now = datetime.now(tz=UTC)
    found = []
    for run in running_runs(store):
        process = fate(run.tags)
        unknown = process == "unknown"
        old = older_than is not None and now - run.started > older_than
        given_up = retrain is not None and run.tag("retrain") == retrain
        close = process == "gone" or (unknown and (every or old or given_up))
        removed = _remove_unfinished(store, run, dry_run) if close else 0
        if close and not dry_run:
            store.killed(run.run_id)
        found.append(LeftRun(run, process, close, removed))
    return found


def _champion(store: Store, domain: str) -> Champion | None:
    number = reign(store, domain).version
    if number is None:
        return None
    uri = f"models:/{model_name(domain)}/{number}"
    try:
        base_of(store, find_adapter(store, uri, None, SILENT), None, SILENT)
    except LorarecError as error:
        return Champion(domain, uri, str(error))
    return Champion(domain, uri, "")


def _remove_unfinished(store: Store, run: RunInfo, dry_run: bool) -> int:
    """What was being written into a local run's artifacts when its process was killed."""
    try:
        folder = artifact_folder(store, run)
    except StoreError:  # outside of the store: perhaps another's, so it stays
        return 0
    if folder is None:
        return 0
    left = sorted(folder.rglob(UNFINISHED))
    for path in left if not dry_run else []:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)
