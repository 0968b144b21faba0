"""Forgetting users and items: out of prepared data, bases, adapters, indexes and files of a store.

All is written beside what it replaces and looked at, then the data sets change, each by a rename,
and then the store does as one (`tracking.flip`). Killed before, nothing has changed of the store
and the next call begins again; killed after, the next call finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lorarec.data.forgotten import Forgotten
from lorarec.data.logs import logs_digest
from lorarec.data.prepared.build import alone, remove_leftovers
from lorarec.data.prepared.forgetting import Rewritten, discard, put_in_place, rewritten
from lorarec.data.prepared.manifest import read_manifest
from lorarec.data.source import DataSource
from lorarec.errors import ConfigError, DataError, LorarecError, StoreError
from lorarec.jobs.forget_places import Places, find_places
from lorarec.jobs.forget_staging import Staging, Touched
from lorarec.jobs.listener import SILENT, Listener
from lorarec.tracking.champions import deciding
from lorarec.tracking.everything import all_runs
from lorarec.tracking.flip import carry_out, local_database
from lorarec.tracking.store import Store

ALWAYS = (
    "Backups and copies of the store, of the data sets and of logs: delete the rows there.",
    "Servers and notebooks that are running keep what they have loaded: start them again.",
    "Lists, exports, pages and checkpoints outside of the store: write them again.",
    "Folders of lorarec retrain and lorarec backfill, of which only named indexes are looked at: "
    "run this on a backfill's own store too, write reports again, remove old indexes.",
    "JSON that holds an id that is a bare number as a key or a text: delete it there.",
    "Other stores whose bases read the same data sets: run this there too.",
    "What other rows have learnt from those that are gone: pretrain again to be without it.",
)
"""What no command can reach."""


@dataclass(frozen=True)
class Forgot:
    """What was forgotten, or would be."""

    touched: list[Touched]
    rows: int
    """Rows of prepared data sets that went."""
    out_of_reach: list[str]
    """Where ids may still stand, and what to do there."""
    dry_run: bool


def forget(
    store: Store,
    forgotten: Forgotten,
    also: Sequence[Path] = (),
    dry_run: bool = False,
    listen: Listener = SILENT,
) -> Forgot:
    """Take users and items out of everything that a local store has and was made of.

    Their rows leave the prepared data sets; vocabularies keep an empty row in their place; a base
    that knew them is without their vectors and names the base that it comes from; adapters,
    indexes, derivations, runs and registered versions name it by its new digest. Whoever else has a
    row scores as before, to the bit. Logs are not touched: bases that read them record the digest
    that the logs have without the rows, and refuse them until those are deleted there.

    Args:
        store: An SQLite file of this machine, opened to write; all projects in it.
        forgotten: The ids.
        also: Bases, adapters, indexes and prepared data sets outside of the store.
        dry_run: Do all but the change.
        listen: Takes words.

    Raises:
        ConfigError: A run is in progress, or something names an id that cannot be rewritten; all of
            it is listed and nothing has changed.
        DataError: A data set would be empty or split otherwise, or another process changes it.
        ArtifactError: An artefact is broken.
        StoreError: The store is on a server, or it or the disk refused.
    """
    local_database(store)  # refuses any other store
    with ExitStack() as stack:
        stack.enter_context(deciding(store))
        places = find_places(store, also)
        before = {run.info.run_id for run in places.runs}
        for folder in places.datasets:
            stack.enter_context(alone(folder))
            remove_leftovers(folder, read_manifest(folder))
        work = _Work(places, forgotten, listen)
        try:
            work.stage()
            flip = work.staging.flip(store)
            work.check()
            if {run.info.run_id for run in all_runs(store)} != before:
                raise StoreError(
                    "Another command began a run meanwhile. Expected none; run this again."
                )
        except BaseException:
            work.discard()
            raise
        report = Forgot(work.touched, work.rows, work.out_of_reach(), dry_run)
        if dry_run:
            work.discard()
            return report
        for found in work.data:
            put_in_place(found)
        if work.staging.touched:
            carry_out(store, flip)
    return report


@dataclass
class _Work:
    """Everything that is to change, as far as it has been written beside."""

    places: Places
    forgotten: Forgotten
    listen: Listener
    data: list[Rewritten] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.staging = Staging(self.places, self.forgotten)

    def stage(self) -> None:
        """Write what changes beside what it replaces."""
        for folder in self.places.datasets:
            if (found := rewritten(folder, self.forgotten)) is not None:
                self.data.append(found)
        logs = [now for source in self.places.logs if (now := self._logs(source)) is not None]
        self.staging.bases_and_adapters(logs)
        self.staging.indexes()
        self.staging.files()
        self.staging.left_over()

    def discard(self) -> None:
        """Remove what was written."""
        for found in self.data:
            discard(found)
        self.staging.discard()

    def check(self) -> None:
        """Refuse where something would still name an id.

        Raises:
            ConfigError: It would; all of it is listed.
        """
        if refused := self.staging.refused:
            listed = "\n".join(f"  {each}" for each in refused)
            raise ConfigError(
                f"Nothing was changed: {len(refused)} things name an id and cannot be rewritten:\n"
                f"{listed}\nExpected none. Do as it says there or delete them, then run this again."
            )

    @property
    def rows(self) -> int:
        """Of prepared data sets, that go."""
        return sum(found.rows for found in self.data)

    @property
    def touched(self) -> list[Touched]:
        """All that changes, the data sets first."""
        data = [Touched("data set", str(f.folder), f"{f.rows:,} rows are gone") for f in self.data]
        return [*data, *self.staging.touched]

    def out_of_reach(self) -> list[str]:
        """What this does not reach, what is known of it first."""
        remote = [f"Artifacts that are not on this machine: {run}" for run in self.places.remote]
        unknown = [
            f"Artifacts in {folder} of a run that this store does not have, perhaps of the store "
            f"beside it: run this there too, or delete them."
            for folder in self.places.unknown
        ]
        tables = sorted(
            {known.path for base in self.places.bases.values() for known in base.features.values()}
        )
        features = [f"The table of features {path}: delete the ids' rows there." for path in tables]
        imported = [
            f"What a base was imported from, {base.origin.source}: delete the ids' rows there."
            for base in self.places.bases.values()
            if base.origin is not None
        ]
        taken = [
            f"The logs that {folder} was prepared from: {_some(folder)}. Delete the rows there too "
            f"and append none of them again: changed, they would count as new."
            for folder in self.places.datasets
        ]
        found = [*self.notes, *taken, *remote, *unknown, *features, *dict.fromkeys(imported)]
        return [*found, *ALWAYS]

    def _logs(self, source: DataSource) -> DataSource | None:
        """A source of logs as it is recorded from now on; None where nothing of it changes.

        Raises:
            ConfigError: Ids that were forgotten earlier are still in the logs.
            DataError: Without an item other rows would be split otherwise.
        """
        shown = ", ".join(source.paths)
        try:
            frame, now = source.read()
        except LorarecError as error:
            self.notes.append(f"The logs {shown}, which cannot be read ({_first(str(error))}).")
            return None
        if source.without and now.digest == source.digest:
            raise ConfigError(
                f"The logs {shown} still hold rows of ids that were forgotten earlier. Expected "
                f"them without: delete those rows there, then run this again."
            )
        if now.digest != (source.without or source.digest):
            self.notes.append(
                f"The logs {shown}, which have changed since: delete the rows of the ids there."
            )
            return None
        left = self.forgotten.kept(frame)
        if not (gone := frame.height - left.height):
            return None
        self._refuse_shifted(source)
        self.notes.append(
            f"The logs {shown}: delete the {gone:,} rows of the ids there, and leave the others in "
            f"their order. Until then commands on the bases that read them refuse them."
        )
        return source.model_copy(update={"without": logs_digest(left), "rows": left.height})

    def _refuse_shifted(self, source: DataSource) -> None:
        split = {b.split.used for b in self.places.bases.values() if b.data.paths == source.paths}
        if self.forgotten.items and "leave-last-out" in split:
            raise DataError(
                f"The logs {', '.join(source.paths)} are split by leave-last-out: without an item, "
                f"rows that have trained would be held out. Expected users alone, or another "
                f"split; pretrain again on logs without the item."
            )


def _some(folder: Path) -> str:
    """The first of the logs that a data set has taken."""
    sources = [source.path for g in read_manifest(folder).generations for source in g.sources]
    more = f" and {len(sources) - 3:,} more" if len(sources) > 3 else ""
    return ", ".join(sources[:3]) + more


def _first(text: str) -> str:
    return text.split(". ")[0]
