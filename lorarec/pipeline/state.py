"""The journal of one retraining: what is done, so that a rerun goes on where a crash broke it off.

It is one sealed JSON, written beside and renamed after every step. What is not in it did not
happen, or happened in the store alone: then it is found there by the retraining's id, which every
run is tagged with.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from lorarec.pipeline.points import reached
from lorarec.record import FORMAT, Record, load_record, save_record

NAME = "journal.json"
Kind = Literal["lorarec retraining"]
KIND: Kind = "lorarec retraining"
Stage = Literal["due", "trained", "done", "unchanged", "failed", "postponed"]


class Ingested(Record):
    """What the logs brought."""

    digest: str
    """Of the prepared data set afterwards."""
    generation: int
    rows: int
    """In all."""
    added: int
    """New ones."""
    refused: dict[str, str] = Field(default_factory=dict)
    """File → why nothing of it was taken."""


class BaseStep(Record):
    """What became of the base."""

    due: bool
    reason: str
    """Why it was due, or why not."""
    run: str = ""
    """`runs:/<id>` of the base that domains are adapted on."""
    digest: str = ""
    learnt_to: int | None = None
    """Second up to which its split trains; None where that is not by time."""
    seconds: float = 0.0
    """Of its training; 0 where it was kept."""
    error: str = ""
    """Why it could not be trained, where the one before is kept for that."""


class DomainStep(Record):
    """What became of one domain."""

    stage: Stage
    """`due`: to be trained; `trained`: waits for the gate; `done`: the gate has said; `unchanged`:
    the adapter that serves stays, as nothing of it moved; `failed`; `postponed`: time was up."""
    reason: str
    """Why it is due."""
    overdue: float
    """How many times over the threshold that made it due."""
    drift: float | None = None
    """Of its rows since its adapter, in bits above chance."""
    new_rows: int = 0
    run: str = ""
    """`runs:/<id>` of its new adapter."""
    digest: str = ""
    """Of that."""
    how: str = ""
    """`adapt`, `continue` or `rebase`."""
    bytes: int = 0
    """Of the adapter on disk."""
    outcome: str = ""
    """As `Promoted.outcome`."""
    decision: str = ""
    """The gate's: `promote`, `keep-champion` or `keep-base`."""
    before: int | None = None
    """The champion's version before; None is the bare base."""
    version: int | None = None
    """Of the new adapter."""
    gate_run: str = ""
    seconds: float = 0.0
    error: str = ""


class Journal(Record):
    """One retraining."""

    kind: Kind = KIND
    format_version: int = FORMAT
    id: str
    at: int
    """Its moment, in seconds since 1970: all ages are counted from it."""
    finished: bool = False
    error: str = ""
    """What ended it before its end."""
    waited: dict[str, int] = Field(default_factory=dict)
    """Domain → how many retrainings in a row have postponed it before."""
    rows_before: int = 0
    """Rows of the data set when it began."""
    ingested: Ingested | None = None
    base: BaseStep | None = None
    domains: dict[str, DomainStep] | None = None
    """Those that are due, in the order of their turn; None as long as nobody has looked."""
    idle: dict[str, str] = Field(default_factory=dict)
    """Domain that is not due → why."""
    published: bool = False
    unbuilt: dict[str, str] = Field(default_factory=dict)
    """Index that could not be built → why."""
    reported: bool = False
    report_error: str = ""
    """Why there is no report, where one was asked for."""
    collect_error: str = ""
    """Why what no release needs stayed, where it was to go."""
    told: bool = False
    """Whether history and page have it."""

    @staticmethod
    def begun(at: int, rows_before: int = 0, waited: dict[str, int] | None = None) -> Journal:
        """A new one.

        Args:
            at: Its moment.
            rows_before: Rows of the data set.
            waited: From the one before.
        """
        moment = datetime.fromtimestamp(at, tz=UTC)
        name = f"{moment:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
        return Journal(id=name, at=at, rows_before=rows_before, waited=waited or {})

    def with_domain(self, name: str, step: DomainStep) -> Journal:
        """The journal after a step of one domain."""
        domains = dict(self.domains or {})
        domains[name] = step
        return self.model_copy(update={"domains": domains})

    @property
    def postponed(self) -> dict[str, int]:
        """Domain → how often in a row, this time included."""
        return {
            name: self.waited.get(name, 0) + 1
            for name, step in (self.domains or {}).items()
            if step.stage == "postponed"
        }

    @property
    def failed(self) -> dict[str, str]:
        """What was left undone → why: domains, files of logs, the base."""
        found = dict(self.ingested.refused) if self.ingested else {}
        if self.base is not None and self.base.error:
            found["base"] = self.base.error
        steps = (self.domains or {}).items()
        found |= self.unbuilt
        if self.report_error:
            found["report"] = self.report_error
        if self.collect_error:
            found["old adapters"] = self.collect_error
        return found | {name: step.error for name, step in steps if step.stage == "failed"}


def save(work: Path, journal: Journal) -> Journal:
    """Write the journal, whole or not at all."""
    reached("journal-before")
    save_record(work / NAME, journal)
    reached("journal-after")
    return journal


def load(work: Path) -> Journal | None:
    """The journal of the last retraining, finished or not; None before the first.

    JSON is written with sorted keys, so the turn of the domains is told by their steps.

    Raises:
        ArtifactError: It was edited or damaged.
    """
    if not (work / NAME).is_file():
        return None
    journal = load_record(work / NAME, Journal)
    if journal.domains is None:
        return journal
    return journal.model_copy(update={"domains": in_turn(journal.domains, journal.waited)})


def in_turn(steps: dict[str, DomainStep], waited: dict[str, int]) -> dict[str, DomainStep]:
    """Steps in the order of their turn: what was postponed before, then the most overdue."""

    def key(name: str) -> tuple[int, float, str]:
        return -waited.get(name, 0), -steps[name].overdue, name

    return {name: steps[name] for name in sorted(steps, key=key)}
