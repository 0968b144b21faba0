"""Snapshots out of the project's store: the champion of each domain, on the base that it needs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from lorarec.errors import NotFoundError
from lorarec.jobs.choose import Chosen, base_with_digest, choose_base
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommend import domain_rows, ready_of
from lorarec.lora.adapter import AdapterInfo, load_adapter
from lorarec.models.artefact import Base, load_base
from lorarec.record import load_record
from lorarec.serving.snapshot import Snapshot
from lorarec.tracking.registry import resolve
from lorarec.tracking.served import served_adapter
from lorarec.tracking.store import Store

BARE = "none"
"""The version of a domain that its bare base serves."""


class StoreSource:
    """Domains of a base, each with the adapter that serves it now.

    A champion on another base brings that one; a base is in memory once, as long as a domain needs
    it. The base of domains without an adapter stays what it was at the start.

    Args:
        store: Where bases and adapters are.
        base: URI; None is the newest.
        paths: Other logs than the bases', by choice.
        listen: Takes words, at the start.

    Raises:
        NotFoundError: There is no base.
        ArtifactError: It is broken.
    """

    def __init__(
        self,
        store: Store,
        base: str | None = None,
        paths: Sequence[Path] = (),
        listen: Listener = SILENT,
    ) -> None:
        self.store, self.paths = store, tuple(paths)
        self.base = choose_base(store, base, listen).base
        self._bases = weakref.WeakValueDictionary({self.base.digest: self.base})
        self._lock = threading.Lock()
        info = self.base.info
        self._domains = sorted({*info.domains, *info.excluded_domains})

    def domains(self) -> Sequence[str]:
        return self._domains

    def version(self, domain: str) -> str:
        return served_adapter(self.store, domain, self.base.digest) or BARE

    def load(self, domain: str, version: str) -> Snapshot:
        shared = base = self.base
        adapter = None
        if version != BARE:
            folder, _ = resolve(self.store, version, "adapter")
            info = load_record(folder / "adapter.json", AdapterInfo)
            if info.domain != domain:
                raise NotFoundError(
                    f"{version} is an adapter of {info.domain!r}. Expected one of {domain!r}; "
                    f"point the alias at another version."
                )
            shared = self._base(info.base_digest)
            adapter = load_adapter(folder, shared)
            base = Chosen(shared, None).beside(adapter.info).base
        rows = domain_rows(base, domain, self.paths)
        return Snapshot(ready_of(rows, domain, base, adapter), version, shared)

    def _base(self, digest: str) -> Base:
        with self._lock:
            base = self._bases.get(digest)
            if base is None:
                found = base_with_digest(self.store, digest)
                if found is None:
                    raise NotFoundError(
                        f"The base with digest {digest} is not in {self.store.shown}. Expected the "
                        f"base of the adapter that serves."
                    )
                base = load_base(resolve(self.store, found, "base")[0])
                self._bases[digest] = base
            return base
