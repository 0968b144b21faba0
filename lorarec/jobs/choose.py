"""Which base and which adapter a command means, said aloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lorarec.data.later_split import latest
from lorarec.data.prepared.manifest import is_prepared
from lorarec.data.splits import SplitRecord
from lorarec.errors import AdapterMismatchError, NotFoundError, did_you_mean
from lorarec.jobs.listener import Listener
from lorarec.lora.adapter import Adapter, AdapterInfo, load_adapter
from lorarec.models.artefact import Base, load_base
from lorarec.record import load_record
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import BASE_MODEL
from lorarec.tracking.registry import newest_adapter, newest_base, resolve
from lorarec.tracking.store import Store
from lorarec.tracking.versions import versions

NO_ADAPTER = "none"
"""`--adapter none`: the bare base."""


@dataclass(frozen=True)
class Chosen:
    """A base and the run it came from; a base given as a folder has no run."""

    base: Base
    run: str | None
    folder: Path | None = None
    """Where it was read; None where it was not."""

    def at(self, split: SplitRecord) -> Chosen:
        """The same base, beside logs that are split at a later cut-off than its own."""
        if split == self.base.info.split:
            return self
        info = self.base.info.model_copy(update={"split": split})
        return replace(self, base=replace(self.base, info=info))

    def beside(self, *adapters: AdapterInfo) -> Chosen:
        """The same base, beside the logs that its adapters are of.

        They are split at the last of their cut-offs, and a prepared data set is what it was when
        the one that went on last was trained: what that has learnt of is had, not new.
        """
        chosen = self.at(latest(info.split for info in adapters))
        info = chosen.base.info
        if not all(is_prepared(Path(path)) for path in info.data.paths):
            return chosen
        own = [each for one in adapters for each in one.trained_on if each.paths == info.data.paths]
        data = max([info.data, *own], key=lambda source: source.rows)
        info = info.model_copy(update={"data": data})
        return replace(chosen, base=replace(chosen.base, info=info))

    @property
    def tags(self) -> dict[str, object]:
        """What every run on this base says of it, as `standard_tags` takes it."""
        split = self.base.info.split
        return {
            "base_run": self.run,
            "base_digest": self.base.digest,
            "split": split.used,
            "cutoff": split.t_test,
        }


def choose_base(
    store: Store, uri: str | None, listen: Listener, adapter: str | None = None
) -> Chosen:
    """The named base, or that of the named adapter, or the newest finished one of the store.

    Args:
        store: Where to look.
        uri: Of a base; None leaves it to `adapter`, or takes the newest.
        listen: Takes words.
        adapter: URI of an adapter that is to be put on the base, or `none`.

    Raises:
        NotFoundError: There is none.
        ArtifactError: It is there and broken.
    """
    if uri is None and adapter not in (None, NO_ADAPTER):
        uri = _base_of(store, str(adapter))
        listen.say(f"Base: {uri}, that of the adapter.")
    if uri is None:
        info = newest_base(store)
        if info is None:
            raise NotFoundError(
                f"There is no finished base in {store.shown}. Expected one; make it first: "
                f"lorarec pretrain --data PATH"
            )
        listen.say(f"Base: {_named(info)}, the newest.")
        uri = info.uri
    folder, run = resolve(store, uri, "base")
    base = load_base(folder)
    if base.info.origin is not None and (warning := base.info.origin.warning()):
        listen.say(warning)
    return Chosen(base, run.uri if run else None, folder)


def base_with_digest(store: Store, digest: str) -> str | None:
    """URI of the base with a digest: its run, or its registered version; None where it is gone."""
    found = newest_base(store, base_digest=digest)
    if found is not None:
        return found.uri
    registered = versions(store, BASE_MODEL, digest)
    return registered[0].uri if registered else None


def _base_of(store: Store, adapter: str) -> str:
    folder, _ = resolve(store, adapter, "adapter")
    digest = load_record(folder / "adapter.json", AdapterInfo).base_digest
    found = base_with_digest(store, digest)
    if found is None:
        raise NotFoundError(
            f"The base of {adapter} with digest {digest} is not in {store.shown}. Expected it "
            f"there; name its folder or URI: --base URI"
        )
    return found


def choose_adapter(
    store: Store, uri: str | None, base: Base, domain: str, listen: Listener
) -> Adapter | None:
    """The named adapter, or the newest finished one of the domain on this base, never another.

    Returns:
        None for `none`, which is said, and where there is no adapter yet: what follows from that
        is the caller's to say.

    Raises:
        AdapterMismatchError: The named adapter belongs to another base.
        NotFoundError: The named adapter is not there or is of another domain.
    """
    if uri == NO_ADAPTER:
        listen.say("Adapter: none, the bare base.")
        return None
    if uri is None:
        info = newest_adapter(store, domain=domain, base_digest=base.digest)
        if info is None:
            return None
        listen.say(f"Adapter: {_named(info)}, the newest of {domain} on this base.")
        uri = info.uri
    folder, _ = resolve(store, uri, "adapter")
    try:
        adapter = load_adapter(folder, base)
    except AdapterMismatchError as error:
        record = load_record(folder / "adapter.json", AdapterInfo)
        found = base_with_digest(store, record.base_digest)
        hint = f" Its base is here: --base {found}" if found else ""
        raise AdapterMismatchError(f"{error}{hint}") from error
    if adapter.info.domain != domain:
        raise NotFoundError(
            f"The adapter {uri} is of domain {adapter.info.domain!r}. Expected one of {domain!r}."
            f"{did_you_mean(domain, [adapter.info.domain])}"
        )
    return adapter


def _named(info: RunInfo) -> str:
    when: datetime = info.started
    return f"{info.uri} ({info.name}, {when.astimezone():%Y-%m-%d %H:%M})"
