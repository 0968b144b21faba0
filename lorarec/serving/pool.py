"""Domains in memory: loaded when asked for, the least recently used leave, versions are swapped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lorarec.errors import LorarecError, NotFoundError, did_you_mean
from lorarec.serving.snapshot import Answer, Query, Snapshot

MOST_DOMAINS = 64
MOST_BYTES = 4 << 30


class UnknownDomainError(NotFoundError):
    """A request names a domain that there is not; what is missing of one that there is, is not."""


class Source(Protocol):
    """Where snapshots come from."""

    def domains(self) -> Sequence[str]:
        """All that can be served, sorted."""

    def version(self, domain: str) -> str:
        """What serves the domain now, in a word that changes with it; cheap."""

    def load(self, domain: str, version: str) -> Snapshot:
        """That version, checked."""


@dataclass(frozen=True)
class Swaps:
    """What a look at the source has changed."""

    swapped: dict[str, str]
    """The new version of each domain that has one."""
    failed: dict[str, str]
    """Why a domain stays on the version that it had."""


class Pool:
    """Snapshots of the domains that are asked for, within a bound.

    A domain is swapped by one reference. A request takes its snapshot once, so it is answered by
    the version before or by the one after and by no mix of both; what it holds lives until it ends.

    Args:
        source: Where snapshots come from.
        most: Domains in memory at once, at least 1.
        most_bytes: Bytes that they may hold beside their bases; the last one always stays.
    """

    def __init__(
        self, source: Source, most: int = MOST_DOMAINS, most_bytes: int = MOST_BYTES
    ) -> None:
        self.source, self.most, self.most_bytes = source, max(1, most), most_bytes
        self._held: OrderedDict[str, Snapshot] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    @property
    def held(self) -> list[Snapshot]:
        """What is in memory, the least recently used first."""
        with self._lock:
            return list(self._held.values())

    def get(self, domain: str) -> Snapshot:
        """The domain's snapshot, loaded where it is not in memory.

        Raises:
            UnknownDomainError: There is no such domain.
            LorarecError: It cannot be loaded.
        """
        if (snapshot := self._used(domain)) is not None:
            return snapshot
        if domain not in (names := self.source.domains()):
            raise UnknownDomainError(f"There is no domain {domain!r}.{did_you_mean(domain, names)}")
        with self._alone(domain):
            if (snapshot := self._used(domain)) is not None:
                return snapshot
            snapshot = self.source.load(domain, self.source.version(domain))
            self._put(domain, snapshot)
            return snapshot

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers in the order of the queries; all of one domain by one snapshot.

        Raises:
            UnknownDomainError: There is no such domain.
            LorarecError: A domain cannot be loaded.
        """
        places: dict[str, list[int]] = {}
        for place, query in enumerate(queries):
            places.setdefault(query.domain, []).append(place)
        answers: dict[int, Answer] = {}
        for domain, own in places.items():
            found = self.get(domain).answer([queries[place] for place in own])
            answers.update(zip(own, found, strict=True))
        return [answers[place] for place in range(len(queries))]

    def refresh(self) -> Swaps:
        """Swap every domain in memory whose version has moved; one that fails stays as it is."""
        swapped, failed = {}, {}
        for snapshot in self.held:
            domain = snapshot.domain
            try:
                with self._alone(domain):
                    version = self.source.version(domain)
                    if version == snapshot.version:
                        continue
                    newer = self.source.load(domain, version)
                    with self._lock:
                        if domain in self._held:
                            self._held[domain] = newer
                    swapped[domain] = version
            except LorarecError as error:
                failed[domain] = str(error)
        with self._lock:
            self._shrink()
        return Swaps(swapped, failed)

    def _used(self, domain: str) -> Snapshot | None:
        with self._lock:
            snapshot = self._held.get(domain)
            if snapshot is not None:
                self._held.move_to_end(domain)
            return snapshot

    def _alone(self, domain: str) -> threading.Lock:
        """One loads a domain while the others wait for it; other domains go on."""
        with self._lock:
            return self._loading.setdefault(domain, threading.Lock())

    def _put(self, domain: str, snapshot: Snapshot) -> None:
        with self._lock:
            self._held[domain] = snapshot
            self._held.move_to_end(domain)
            self._shrink()

    def _shrink(self) -> None:
        total = sum(snapshot.nbytes for snapshot in self._held.values())
        while len(self._held) > 1 and (len(self._held) > self.most or total > self.most_bytes):
            _, gone = self._held.popitem(last=False)
            total -= gone.nbytes
