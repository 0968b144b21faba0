"""Removing what no release needs: old versions, unreferenced adapters and bases, leftovers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lorarec.errors import ConfigError, NotFoundError
from lorarec.jobs.named_adapter import ADAPTER_KINDS, base_digest
from lorarec.jobs.recorded import Recorded, parent_names, recorded
from lorarec.record import load_record
from lorarec.retrieval.artefact import RECORD as INDEX
from lorarec.retrieval.artefact import IndexInfo
from lorarec.retrieval.augmented_artefact import RECORD as AUGMENTED
from lorarec.retrieval.augmented_artefact import AugmentedInfo
from lorarec.storage import bytes_of
from lorarec.tracking.champions import deciding, reign
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import domain_of
from lorarec.tracking.registry import BASE_KINDS, find_run, running_runs
from lorarec.tracking.removal import (
    Leftover,
    artifact_bytes,
    delete_version,
    half_removed,
    leftovers,
    on_base,
    orphans,
    other_databases,
    remove_artifacts,
    remove_leftover,
    remove_run,
)
from lorarec.tracking.runs import PARENT
from lorarec.tracking.store import Store
from lorarec.tracking.versions import Version


@dataclass(frozen=True)
class Removal:
    """One thing that was or would be removed."""

    what: str
    """`version`, `adapter`, `base` or `leftover`."""
    name: str
    """URI, or path."""
    why: str
    bytes: int
    """On disk; 0 of a version, which is no copy."""


@dataclass(frozen=True)
class Kept:
    """One thing that is old and stays all the same."""

    what: str
    name: str
    why: str


@dataclass(frozen=True)
class Collected:
    """What `gc` found and did."""

    removed: list[Removal]
    """In the order in which they went; with `dry_run` what would go."""
    kept: list[Kept]
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Of all that was or would be removed."""
        return sum(each.bytes for each in self.removed)


def gc(
    store: Store,
    keep: int,
    dry_run: bool = True,
    *,
    bases: Sequence[str] = (),
    indexes: Sequence[Path] = (),
    unknown: bool = False,
) -> Collected:
    """Remove old versions and what nothing refers to. Killed in the middle, the next call finishes.

    Of each domain the newest `keep` versions stay, and the newest `keep` adapters that no sweep
    passed over; and the champion, the challenger, the champion that a rollback would go back to,
    what serves a domain without versions, what an index was built of, and the parents of an adapter
    that stays for one of these reasons. Of bases the newest `keep` stay, the champion, and each
    that an adapter is on. Runs in progress, and those of another project in the same store, are
    not touched.

    Args:
        store: Opened to write, unless it is a dry run.
        keep: 1 or more.
        dry_run: Only say what would be removed.
        bases: URIs of bases that are to go too, however new they are.
        indexes: Folders of indexes, whose base and adapters stay.
        unknown: Whether artifacts of runs that the store does not have go too.

    Raises:
        ConfigError: `keep` is below 1, or a base that is to go has adapters on it, which are named,
            or `unknown` with another store in the same folder.
        NotFoundError: There is no such base, or no index in a folder.
        StoreError: The store or the disk refused; what was removed before stays removed.
    """
    if keep < 1:
        raise ConfigError(f"--keep {keep} would keep nothing. Expected 1 or more.")
    if unknown and (others := other_databases(store)):
        raise ConfigError(
            f"{', '.join(map(str, others[:3]))} beside the store keeps artifacts in the same "
            f"folder. Expected one store there, as nobody can tell whose runs the "
            f"unknown are; move the other away with its artifacts, or do without --orphans."
        )
    with ExitStack() as stack:
        if not dry_run:  # no champion moves between what is found here and what is done
            stack.enter_context(deciding(store))
        plan = _Plan(store, keep, recorded(store), _indexed(indexes))
        todo = plan.steps([base_digest(store, uri) for uri in bases])
        todo += [plan.left_over(each) for each in (orphans(store) if unknown else [])]
        if not dry_run:
            for _, step in todo:
                step()
    return Collected([removal for removal, _ in todo], plan.spared, dry_run)


Step = tuple[Removal, Callable[[], None]]


@dataclass
class _Plan:
    """What goes and why, worked out of the store as it is."""

    store: Store
    keep: int
    found: Recorded
    indexed: set[str]
    """Digests of the bases and adapters that indexes were built of."""
    spared: list[Kept] = field(default_factory=list)

    def steps(self, asked: Sequence[str]) -> list[Step]:
        """Everything that goes, and how; versions first, so that none ever names what is gone.

        Args:
            asked: Digests of bases that are to go.
        """
        old = self._old_versions()
        left = [version for version in self.found.versions if version not in old]
        stays = self._staying(left)
        dead = {run.run_id: run for run in self.found.adapters if run.run_id not in stays}
        bases = self._dead_bases(set(dead), left, asked)
        named = {run.run_id for run in bases}
        theirs = [version for version in left if version.run_id in named]
        return [
            *(self._rest(run) for run in half_removed(self.store)),
            *(self._version(each, f"older than the newest {self.keep}") for each in old),
            *(self._version(each, "its base goes") for each in theirs),
            *(self._run("adapter", run, self._why(run)) for run in dead.values()),
            *(self._run("base", run, "no adapter is on it") for run in bases),
            *(self.left_over(each) for each in leftovers(self.store)),
        ]

    def _old_versions(self) -> list[Version]:
        """Versions of adapters of this project behind the newest, but for those in use."""
        ours = {run.run_id for run in self.found.adapters}
        of_domain: dict[str, list[Version]] = {}
        for version in self.found.versions[::-1]:  # the newest of each model first
            domain = domain_of(version.name)
            if domain is not None and version.run_id in ours:
                of_domain.setdefault(domain, []).append(version)
        old = []
        for domain, versions in of_domain.items():
            before = reign(self.store, domain).stack[1:2]
            for version in versions[self.keep :]:
                if version.aliases:
                    self._spare("version", version.uri, ", ".join(version.aliases))
                elif any(event.version == version.number for event in before):
                    self._spare("version", version.uri, "a rollback would go back to it")
                else:
                    old.append(version)
        return old

    def _staying(self, versions: Sequence[Version]) -> dict[str, str]:
        """Ids of the adapters' runs that stay, and why.

        Args:
            versions: That stay.
        """
        stays: dict[str, str] = {}
        shown = {version.run_id: version.uri for version in versions}
        newest = self.found.bases[0].tag("base_digest") if self.found.bases else None
        counts: dict[tuple[str | None, str], int] = {}
        serving: set[str | None] = {domain_of(version.name) for version in self.found.versions}
        running = running_runs(self.store)
        used = {run.tag("adapter_digest") for run in running} - {None}
        used |= {name for run in running for name in parent_names(run)}
        for run in self.found.adapters:
            how = run.kind if run.kind in ("adapt", "full") else "derived"
            place = counts.get((run.domain, how), 0)
            why = shown.get(run.run_id)
            if run.tag("adapter_digest") in self.indexed:
                why = why or "an index was built of it"
            if {run.tag("adapter_digest"), run.uri} & used:
                why = why or "a run in progress is of it"
            if run.passed_over:
                why = why or (None if self._is_over(run) else "its sweep is still running")
                if why is not None:
                    stays[run.run_id] = why
                continue
            on_newest = how == "adapt" and run.tag("base_digest") == newest
            if on_newest and run.domain not in serving:
                why = why or f"{run.domain} is served by it"
            if why is not None or place < self.keep:
                stays[run.run_id] = "" if place < self.keep else str(why)
            counts[run.domain, how] = place + 1
            if on_newest:
                serving.add(run.domain)  # older ones on that base do not serve
        for run in [run for run in self.found.adapters if run.run_id in stays]:
            for parent in self.found.parents(run):
                stays.setdefault(parent.run_id, f"a parent of {run.uri}")
        for run_id, reason in stays.items():
            if reason:
                self._spare("adapter", f"runs:/{run_id}", reason)
        return stays

    def _is_over(self, run: RunInfo) -> bool:
        """Whether the sweep that a run is of has ended."""
        parent = run.tags.get(PARENT)
        try:
            return parent is None or find_run(self.store, parent).status != "RUNNING"
        except NotFoundError:
            return True

    def _dead_bases(
        self, dead: set[str], versions: Sequence[Version], asked: Sequence[str]
    ) -> list[RunInfo]:
        """Bases that nobody uses.

        Args:
            dead: Ids of the adapters' runs that go.
            versions: That stay.
            asked: Digests of those that are to go, however new.

        Raises:
            ConfigError: One that is to go is in use.
        """
        found = []
        for place, run in enumerate(self.found.bases):
            digest = str(run.tag("base_digest"))
            if place < self.keep and digest not in asked:
                continue
            uses = self._uses(run, digest, dead, versions)
            if uses and digest in asked:
                raise ConfigError(
                    f"The base {run.uri} is in use: {', '.join(uses[:5])}"
                    f"{f' and {len(uses) - 5} more' if len(uses) > 5 else ''}. Expected one that "
                    f"nothing is on. Rebase or remove those first: lorarec adapters rebase --all "
                    f"--to NEWBASE; see: lorarec lineage {run.uri}"
                )
            if uses:
                self._spare("base", run.uri, ", ".join(uses[:2]))
            else:
                found.append(run)
        return found

    def _uses(
        self, run: RunInfo, digest: str, dead: set[str], versions: Sequence[Version]
    ) -> list[str]:
        """What is on a base or leads to it, of all projects of the store."""
        uses = []
        for version in versions:
            if version.run_id == run.run_id and version.aliases:
                uses.append(f"{version.uri} is {', '.join(version.aliases)}")
            elif version.tag("base_digest") == digest:
                uses.append(f"the adapter {version.uri}")
        for experiment, other in on_base(self.store, digest):
            if other.run_id in dead or other.kind in BASE_KINDS:
                continue
            if other.status == "RUNNING" or (
                other.kind in ADAPTER_KINDS and other.status == "FINISHED"
            ):
                of = "" if experiment == self.store.experiment else f" of {experiment}"
                uses.append(f"{other.kind} {other.uri} ({other.name}){of}")
        if digest in self.indexed:
            uses.append("an index was built of it")
        return uses

    def _why(self, run: RunInfo) -> str:
        if run.passed_over:
            return "its sweep chose another"
        return f"no version, and {self.keep} newer of {run.domain}"

    def _spare(self, what: str, name: str, why: str) -> None:
        self.spared.append(Kept(what, name, why))

    def _version(self, version: Version, why: str) -> Step:
        return Removal("version", version.uri, why, 0), lambda: delete_version(self.store, version)

    def _run(self, what: str, run: RunInfo, why: str) -> Step:
        removal = Removal(what, run.uri, why, artifact_bytes(self.store, run))
        return removal, lambda: remove_run(self.store, run)

    def _rest(self, run: RunInfo) -> Step:
        what = "base" if run.kind in BASE_KINDS else "adapter"
        why = "its removal was broken off"
        removal = Removal(what, run.uri, why, artifact_bytes(self.store, run))
        return removal, lambda: remove_artifacts(self.store, run)

    def left_over(self, left: Leftover) -> Step:
        """How what nobody refers to goes."""
        removal = Removal("leftover", str(left.path), left.why, bytes_of(left.path))
        return removal, lambda: remove_leftover(self.store, left)


def _indexed(folders: Sequence[Path]) -> set[str]:
    """Digests of the bases and adapters that indexes were built of."""
    found: set[str | None] = set()
    for folder in folders:
        if (folder / INDEX).is_file():
            info = load_record(folder / INDEX, IndexInfo)
            found |= {info.base_digest, info.adapter_digest}
        elif (folder / AUGMENTED).is_file():
            all_domains = load_record(folder / AUGMENTED, AugmentedInfo)
            found |= {all_domains.base_digest}
            found |= {entry.adapter_digest for entry in all_domains.domains}
        else:
            raise NotFoundError(
                f"There is no index in {folder}. Expected a folder that lorarec index build or "
                f"lorarec index all made."
            )
    return {digest for digest in found if digest is not None}
