"""Where a base or an adapter comes from and what came of it: base, adapters, runs and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lorarec.data.prepared.manifest import is_prepared, read_manifest
from lorarec.data.source import DataSource
from lorarec.errors import LorarecError, NotFoundError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import ADAPTER_KINDS, find_adapter, is_named
from lorarec.jobs.recorded import Recorded, parent_names, recorded
from lorarec.lora.adapter import AdapterInfo
from lorarec.models.artefact import BaseInfo
from lorarec.record import load_record
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import BASE_MODEL
from lorarec.tracking.registry import BASE_KINDS, find_run, finished, resolve
from lorarec.tracking.served import served_adapter
from lorarec.tracking.store import Store
from lorarec.tracking.versions import Version, find_version

Kind = Literal["base", "adapter", "run", "data"]
MEASURING = ("evaluate", "gate")
"""Runs that are of a base or an adapter and make neither."""
MOST_RUNS = 5
"""Of one adapter that are shown, the newest."""


@dataclass(frozen=True)
class Node:
    """One thing of the tree, and what hangs on it."""

    kind: Kind
    name: str
    """What names it to other commands: `runs:/ID`, a folder, the path of logs."""
    digest: str | None
    """Whole; None of a run that makes nothing."""
    about: str
    """What it is: a domain and its targets, how it was made, a generation."""
    versions: tuple[str, ...] = ()
    """What it is registered as: `models:/lorarec-books/3 (champion)`."""
    serves: bool = False
    """Whether requests of its domain are answered by it now."""
    asked: bool = False
    """Whether it is the one that was asked for."""
    children: list[Node] = field(default_factory=list)


def lineage(store: Store, uri: str, listen: Listener = SILENT) -> Node:
    """The tree of a base, or the branch of it that an adapter or a run of one is on.

    Args:
        store: Where runs and registered models are.
        uri: Of a base or an adapter, as all commands take it; a run that measured one; or a domain,
            which is its newest trained adapter.
        listen: Takes words.

    Returns:
        The base, with its data, its adapters and what came of those; of an adapter, only those that
        it came of and that came of it.

    Raises:
        NotFoundError: There is nothing of that name.
        StoreError: The store refused.
    """
    digest, adapter, folder = _asked(store, uri, listen)
    tree = _Tree(store, recorded(store, digest), list(finished(store, MEASURING)), adapter)
    return tree.base(digest, folder)


def _asked(store: Store, uri: str, listen: Listener) -> tuple[str, str | None, Path | None]:
    """The digest of the base that is meant; the adapter's, by its run or its folder; the base's
    folder where no run is known to have made it."""
    place = Path(uri).expanduser()
    if uri.startswith("models:/"):
        return _of_version(store, find_version(store, uri), uri)
    if any((at / "base.json").is_file() for at in (place, place / "base")):
        folder, _ = resolve(store, uri, "base")
        return load_record(folder / "base.json", BaseInfo).digest, None, folder
    bare = uri.removeprefix("runs:/").strip("/").partition("/")[0]
    if is_named(uri) and not place.exists():
        run = find_run(store, bare)
        if run.kind in BASE_KINDS + MEASURING + ADAPTER_KINDS and run.tag("base_digest"):
            of = run.tag("adapter_digest") if run.kind in MEASURING else None
            own = run.uri if run.kind in ADAPTER_KINDS else of and _by_digest(store, of)
            return str(run.tag("base_digest")), own, None
        raise NotFoundError(
            f"The run {run.run_id} ({run.kind} {run.name}) is of no base and no adapter. Expected "
            f"one of {', '.join(BASE_KINDS + ADAPTER_KINDS + MEASURING)}. See: lorarec runs"
        )
    named = find_adapter(store, uri, None, listen)
    return named.info.base_digest, named.name, None


def _of_version(store: Store, version: Version, uri: str) -> tuple[str, str | None, Path | None]:
    if version.name == BASE_MODEL:
        digest = version.tag("digest")
        if digest is None:
            folder, _ = resolve(store, uri, "base")
            digest = load_record(folder / "base.json", BaseInfo).digest
        return digest, None, None
    named = find_adapter(store, uri, None, SILENT)
    return named.info.base_digest, named.name, None


def _by_digest(store: Store, digest: str) -> str | None:
    run = next(finished(store, ADAPTER_KINDS, adapter_digest=digest), None)
    return run.uri if run else None


@dataclass(frozen=True)
class _Tree:
    """What it takes to build the tree."""

    store: Store
    found: Recorded
    measuring: list[RunInfo]
    asked: str | None
    """The adapter that was asked for; None where it is the base."""
    serving: dict[str, str | None] = field(default_factory=dict)
    """Domain → what serves it on this base, as far as it was looked up."""

    def base(self, digest: str, folder: Path | None) -> Node:
        """The base with a digest, and all that hangs on it."""
        run = self.found.base(digest)
        name = run.uri if run else str(folder) if folder else "not in this store"
        info = self._base_info(run, folder)
        children = [] if info is None else [self._data(info.data)]
        wanted = self._branch()
        if wanted is None:
            bare = [run for run in self.measuring if run.tag("base_digest") == digest]
            children += _measured([run for run in bare if run.tag("adapter_digest") is None])
        for adapter in self.found.on(digest):
            # One that came of another on this base hangs on that one.
            there = [p for p in self.found.parents(adapter) if p.tag("base_digest") == digest]
            if not there and (wanted is None or adapter.uri in wanted):
                children.append(self._adapter(adapter, info, wanted, set()))
        if self.asked is not None and not any(r.uri == self.asked for r in self.found.adapters):
            children.append(self._folder(Path(self.asked)))
        return Node(
            "base",
            name,
            digest,
            _about_base(run, info),
            self._versions(run),
            asked=self.asked is None,
            children=children,
        )

    def _branch(self) -> set[str] | None:
        """Of an adapter that was asked for: it, what it came of and what came of it."""
        own = next((run for run in self.found.adapters if run.uri == self.asked), None)
        if self.asked is None:
            return None
        wanted: set[str] = set()
        for onward in (self.found.parents, self.found.children):
            waiting = [own] if own else []
            seen: set[str] = set()
            while waiting:
                run = waiting.pop()
                if run.uri not in seen:
                    seen.add(run.uri)
                    waiting += onward(run)
            wanted |= seen
        return wanted

    def _adapter(
        self, run: RunInfo, info: BaseInfo | None, wanted: set[str] | None, above: set[str]
    ) -> Node:
        children = []
        data = run.tag("data_digest")
        if info is not None and data is not None and data != info.data.digest:
            children.append(self._data(info.data.model_copy(update={"digest": data, "rows": 0})))
        measured = [r for r in self.measuring if r.tag("adapter_digest") == _digest(run)]
        children += _measured(measured)
        for child in self.found.children(run):
            if child.uri in above or (wanted is not None and child.uri not in wanted):
                continue
            if child.tag("base_digest") == run.tag("base_digest"):
                children.append(self._adapter(child, info, wanted, above | {run.uri}))
            else:
                other = self.found.base(child.tag("base_digest"))
                on = other.uri if other else (child.tag("base_digest") or "")[:12]
                about = f"{_about(child)}, rebased to {on}"
                children.append(Node("adapter", child.uri, _digest(child), about))
        return Node(
            "adapter",
            run.uri,
            _digest(run),
            self._came(run),
            self._versions(run),
            self._serves(run),
            run.uri == self.asked,
            children,
        )

    def _came(self, run: RunInfo) -> str:
        """What an adapter is, and how it came of others."""
        about, names = _about(run), parent_names(run)
        if not names:
            return about
        there = self.found.parents(run)
        other = [p for p in there if p.tag("base_digest") != run.tag("base_digest")]
        how = run.kind if run.kind != "adapt" else "rebased" if other else "went on"
        return f"{about}, {how} from {', '.join(names)}"

    def _folder(self, folder: Path) -> Node:
        """An adapter that no run of this store made."""
        info = load_record(folder / "adapter.json", AdapterInfo)
        how = f", {info.made_of.how} of other adapters" if info.made_of else ""
        about = f"{info.domain} {info.config.describe()}{how}"
        return Node("adapter", str(folder), info.digest, about, asked=True)

    def _serves(self, run: RunInfo) -> bool:
        if run.domain is None:
            return False
        if run.domain not in self.serving:
            digest = str(run.tag("base_digest"))
            self.serving[run.domain] = served_adapter(self.store, run.domain, digest)
        own = {run.uri, *(version.uri for version in self.found.versions_of(run))}
        return self.serving[run.domain] in own

    def _versions(self, run: RunInfo | None) -> tuple[str, ...]:
        found = [] if run is None else self.found.versions_of(run)
        return tuple(
            f"{each.uri} ({', '.join(each.aliases)})" if each.aliases else each.uri
            for each in found
        )

    def _base_info(self, run: RunInfo | None, folder: Path | None) -> BaseInfo | None:
        """What the base says of itself; None where it is gone or broken, which its tags are not."""
        try:
            if run is not None:
                folder, _ = resolve(self.store, run.uri, "base")
            return None if folder is None else load_record(folder / "base.json", BaseInfo)
        except LorarecError:
            return None

    @staticmethod
    def _data(source: DataSource) -> Node:
        paths = [Path(path) for path in source.paths]
        about = f"{source.rows:,} rows" if source.rows else "other rows than the base's"
        if len(paths) == 1 and is_prepared(paths[0]):
            about = f"{_generation(paths[0], source.digest)}, {about}"
        return Node("data", ", ".join(source.paths), source.digest, about)


def _generation(folder: Path, digest: str) -> str:
    """Which generation of a prepared data set has a digest."""
    try:
        manifest = read_manifest(folder)
    except LorarecError:
        return "a data set that cannot be read"
    then = manifest.upto(digest)
    of = len(manifest.generations)
    return f"generation {len(then.generations)} of {of}" if then else "none of its generations"


def _digest(run: RunInfo) -> str | None:
    return run.tag("adapter_digest")


def _about(run: RunInfo) -> str:
    targets = run.params.get("targets")
    return " ".join(part for part in (run.domain, run.kind, targets and f"({targets})") if part)


def _about_base(run: RunInfo | None, info: BaseInfo | None) -> str:
    if info is None:
        return run.name if run else ""
    about = f"{info.model}, d = {info.dim}, {len(info.domains)} domains"
    if info.merged is not None:
        about += (
            f", merged of base {info.merged.base_digest[:12]} and an adapter "
            f"{info.merged.adapter_digest[:12]} of {info.merged.domain}"
        )
    if info.forgotten_from is not None:
        about += f", without forgotten ids from {info.forgotten_from[:12]}"
    return about


def _measured(runs: list[RunInfo]) -> list[Node]:
    """The newest of some runs that measured, and how many more there are."""
    shown = []
    for run in runs[:MOST_RUNS]:
        recall = "" if run.recall is None else f", {run.recall[0]} {run.recall[1]:.4f}"
        shown.append(Node("run", run.uri, None, f"{run.kind} {run.domain or ''}{recall}"))
    if (more := len(runs) - MOST_RUNS) > 0:
        shown.append(Node("run", f"and {more:,} older", None, "see: lorarec runs"))
    return shown
