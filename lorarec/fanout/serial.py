"""Domains one after another in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lorarec.fanout.job import Done, Job, Part, Shared, Value, attempted


class SerialEngine:
    """Each domain when it is asked for; nothing is pickled."""

    here = True

    @contextmanager
    def map(
        self, job: Job[Shared, Part, Value], domains: Sequence[str]
    ) -> Iterator[Iterator[Done[Value]]]:
        """As `map_domains`."""
        work = job.begin(job.shared)
        yield (attempted(work, domain, job.part(domain)) for domain in domains)
