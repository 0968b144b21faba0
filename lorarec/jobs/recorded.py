"""What the store has and what refers to what: bases, adapters and their versions, at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorarec.jobs.named_adapter import ADAPTER_KINDS
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import BASE_MODEL, model_name
from lorarec.tracking.registry import BASE_KINDS, finished
from lorarec.tracking.store import Store
from lorarec.tracking.versions import Version, registered_model, versions


@dataclass(frozen=True)
class Recorded:
    """Finished runs that made a base or an adapter, newest first, and the versions of them."""

    bases: list[RunInfo]
    adapters: list[RunInfo]
    versions: list[Version]
    """Of the bases' model and of the domains that were asked for, with their aliases."""

    def base(self, digest: str | None) -> RunInfo | None:
        """The run of the base with a digest; None where it is not in the store."""
        return next((run for run in self.bases if run.tag("base_digest") == digest), None)

    def on(self, digest: str | None) -> list[RunInfo]:
        """The adapters on a base, the first one first."""
        return [run for run in self.adapters[::-1] if run.tag("base_digest") == digest]

    def parents(self, adapter: RunInfo) -> list[RunInfo]:
        """The runs of the adapters that one was computed from or went on from."""
        named = set(parent_names(adapter))
        return [run for run in self.adapters if run.uri in named]

    def children(self, adapter: RunInfo) -> list[RunInfo]:
        """The runs of the adapters that came of one, the first one first."""
        return [run for run in self.adapters[::-1] if adapter.uri in parent_names(run)]

    def versions_of(self, run: RunInfo) -> list[Version]:
        """What a run's artifact is registered as."""
        return [version for version in self.versions if version.run_id == run.run_id]


def parent_names(adapter: RunInfo) -> list[str]:
    """What names the adapters that one came of: URIs of runs, or folders."""
    return [name for name in (adapter.tag("parents") or "").split(",") if name]


def recorded(store: Store, of: str | None = None) -> Recorded:
    """Read the store.

    Args:
        store: Where to look.
        of: Digest of the base whose adapters' registered models are read; None reads those of all.

    Raises:
        StoreError: The store refused.
    """
    adapters = list(finished(store, ADAPTER_KINDS))
    bases = list(finished(store, BASE_KINDS))
    whose = [run for run in adapters if of is None or run.tag("base_digest") == of]
    domains = {run.domain for run in whose if run.domain is not None}
    names = [BASE_MODEL, *(model_name(domain) for domain in sorted(domains))]
    found = [version for name in names for version in registered(store, name)]
    return Recorded(bases, adapters, found)


def registered(store: Store, name: str) -> Iterator[Version]:
    """The versions of a registered model with their aliases, the first one first."""
    model = registered_model(store, name)
    if model is None:
        return
    for version in versions(store, name):
        own = [alias for alias, number in model.aliases.items() if int(number) == version.number]
        yield replace(version, aliases=tuple(sorted(own)))
