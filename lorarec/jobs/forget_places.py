"""Where a store, and what is named besides it, may hold an id: bases, adapters, indexes, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorarec.data.prepared.manifest import is_prepared
from lorarec.data.source import DataSource
from lorarec.errors import ConfigError, NotFoundError
from lorarec.lora.adapter import AdapterInfo
from lorarec.models.artefact import BaseInfo
from lorarec.record import load_record
from lorarec.storage import UNFINISHED
from lorarec.tracking.everything import AnyRun, all_runs
from lorarec.tracking.removal import artifact_folder, leftovers, orphans, other_databases
from lorarec.tracking.runs import local_folder
from lorarec.tracking.store import Store


@dataclass
class Places:
    """All that is to be looked at."""

    runs: list[AnyRun]
    bases: dict[Path, BaseInfo] = field(default_factory=dict)
    adapters: dict[Path, AdapterInfo] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)
    """What names them: of a base or an adapter its run, of a file its run and path, or a folder."""
    models: list[Path] = field(default_factory=list)
    """Folders of MLflow's models."""
    files: list[Path] = field(default_factory=list)
    """All others of the runs."""
    leftovers: list[Path] = field(default_factory=list)
    """What killed processes left among the artifacts."""
    trash: dict[Path, str] = field(default_factory=dict)
    """Artifacts of runs that were deleted and can be restored, and their ids."""
    indexes: list[Path] = field(default_factory=list)
    joined: list[Path] = field(default_factory=list)
    """Indexes of all domains."""
    datasets: list[Path] = field(default_factory=list)
    logs: list[DataSource] = field(default_factory=list)
    """Distinct ones, none of them prepared."""
    remote: list[str] = field(default_factory=list)
    """Runs whose artifacts are not on this machine."""
    unknown: list[Path] = field(default_factory=list)
    """Artifacts of runs that the store does not have, while another store keeps its own there."""

    def sources(self) -> Iterator[DataSource]:
        """Of every base and adapter."""
        for base in self.bases.values():
            yield base.data
        for adapter in self.adapters.values():
            yield from adapter.trained_on


def find_places(store: Store, also: Sequence[Path]) -> Places:
    """Look through a store and through what is named besides it.

    Args:
        store: All of it, whoever's project.
        also: Folders of bases, adapters, indexes and prepared data sets outside of it.

    Raises:
        ConfigError: A run is in progress.
        NotFoundError: A folder is none of these.
        ArtifactError: A record is broken.
        StoreError: Artifacts of a run lie outside of the store.
    """
    found = Places(list(all_runs(store)))
    busy = [r.info for r in found.runs if r.info.status == "RUNNING" and not r.deleted]
    if busy:
        shown = ", ".join(f"{info.uri} ({info.name})" for info in busy[:5])
        raise ConfigError(
            f"{len(busy)} runs are in progress: {shown}. Expected none, as what they write would "
            f"not be looked at. Wait for them; those of killed processes are closed by: "
            f"lorarec doctor"
        )
    for run in found.runs:
        folder = artifact_folder(store, run.info)
        if folder is None:
            if local_folder(run.info.artifact_uri) is None:
                found.remote.append(f"{run.info.uri} in {run.info.artifact_uri}")
        elif run.deleted:
            found.trash[folder] = run.info.run_id
        else:
            _add_run(found, folder, run.info.uri)
    unknown = [left.path for left in orphans(store)]
    if other_databases(store):  # whose runs they may be
        found.unknown += unknown
        unknown = []
    left = [*(each.path for each in leftovers(store)), *unknown]
    found.leftovers += [path for path in left if path not in found.leftovers]
    for path in also:
        _add_folder(found, path.expanduser().resolve())
    for source in found.sources():
        prepared = [Path(path) for path in source.paths if is_prepared(Path(path))]
        found.datasets += [path for path in prepared if path not in found.datasets]
        if not prepared and all(_key(source) != _key(each) for each in found.logs):
            found.logs.append(source)
    return found


def _key(source: DataSource) -> DataSource:
    return source.model_copy(update={"split": None, "rows": 0, "dropped": 0})


def same_logs(one: DataSource, other: DataSource) -> bool:
    """Whether two sources are the same rows, read in the same way."""
    return _key(one) == _key(other)


def _add_run(found: Places, folder: Path, uri: str) -> None:
    found.leftovers += sorted(folder.rglob(UNFINISHED))
    for child in sorted(folder.iterdir()):
        if child in found.leftovers:
            continue
        if (child / "MLmodel").is_file():
            found.models.append(child)
            found.names[child] = f"{uri}/{child.name}"
        elif not _add_artefact(found, child, uri):
            inside = child.rglob("*") if child.is_dir() else [child]
            for path in sorted(inside):
                if path.is_file() and path not in found.leftovers:
                    found.files.append(path)
                    found.names[path] = f"{uri}/{path.relative_to(folder).as_posix()}"


def _add_artefact(found: Places, folder: Path, name: str) -> bool:
    if (folder / "base.json").is_file():
        found.bases[folder] = load_record(folder / "base.json", BaseInfo)
    elif (folder / "adapter.json").is_file():
        found.adapters[folder] = load_record(folder / "adapter.json", AdapterInfo)
    else:
        return False
    found.names[folder] = name
    return True


def _add_folder(found: Places, folder: Path) -> None:
    if (folder / "index.json").is_file():
        found.indexes.append(folder)
    elif (folder / "domains.json").is_file():
        found.joined.append(folder)
    elif is_prepared(folder):
        found.datasets += [folder] if folder not in found.datasets else []
    elif not _add_artefact(found, folder, str(folder)):
        raise NotFoundError(
            f"{folder} is no base, adapter, index or prepared data set. Expected a folder of one. "
            f"An export or an MLflow model of domains is made anew instead: lorarec export, "
            f"lorarec serve --log-model"
        )
