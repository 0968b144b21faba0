"""Where the retraining stands: the last run of each domain, and when the next one is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.config.cron import next_moment
from lorarec.errors import NotFoundError
from lorarec.pipeline import history
from lorarec.pipeline.lock import is_held
from lorarec.pipeline.state import Journal, load


@dataclass(frozen=True)
class Status:
    """What `status` shows."""

    journal: Journal
    """Of the last retraining, finished or not."""
    domains: dict[str, history.Row]
    """The last row of each that was due in some retraining, by name."""
    idle: dict[str, str]
    """Domain that was not due in the last one → why."""
    running: bool
    """Whether a retraining is at work now."""
    next: int | None
    """Moment of the next by `[pipeline] cron`; None without."""

    @property
    def broken_off(self) -> bool:
        """Whether the last one was broken off, so that the next run goes on with it."""
        return not self.journal.finished and not self.running


def status(settings: Settings, now: int) -> Status:
    """Read journal and history; the store is not opened.

    Args:
        settings: `[pipeline]` says where.
        now: In seconds since 1970; the next moment is after it.

    Raises:
        NotFoundError: There was no retraining here yet.
        ArtifactError: A file was edited or damaged.
    """
    work = Path(settings.pipeline.work)
    journal = load(work)
    if journal is None:
        raise NotFoundError(
            f"There was no retraining in {work} yet. Expected one; begin with: lorarec pipeline run"
        )
    rows = history.read(work)
    cron = settings.pipeline.cron
    return Status(
        journal=journal,
        domains=history.latest_due(rows),
        idle=journal.idle,
        running=is_held(work),
        next=None if cron is None else next_moment(cron, now),
    )
