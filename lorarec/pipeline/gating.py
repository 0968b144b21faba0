"""A domain's new adapter at the gate, asked once for each retraining."""

from __future__ import annotations

from dataclasses import dataclass

from lorarec.config import Settings
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.promote import ALREADY, promote
from lorarec.pipeline.state import DomainStep
from lorarec.tracking.champions import PROMOTE, reign
from lorarec.tracking.store import Store


@dataclass(frozen=True)
class Gated:
    """What the gate said of an adapter."""

    outcome: str
    """As `Promoted.outcome`; `unchanged` where what serves has the same digest."""
    decision: str
    version: int
    before: int | None
    run: str


UNCHANGED = "unchanged"


def gate(
    settings: Settings, store: Store, domain: str, adapter: str, listen: Listener = SILENT
) -> Gated:
    """Register the adapter, ask the gate, and move the alias where that says yes.

    Done again it changes nothing: the version of a run is registered once, and one that serves
    already was promoted by the attempt before, whose verdict stands in its tags.

    Args:
        settings: `[gate]` is the policy.
        store: Where the adapter is.
        domain: Its name.
        adapter: `runs:/<id>`.
        listen: Takes words.

    Raises:
        ChampionMovedError: Another process moved the champion since it was measured against;
            nothing was moved here.
        LorarecError: The gate could not decide; the champion stays.
    """
    found = promote(settings, domain, store, adapter, listen=listen)
    version = found.version
    if found.outcome == ALREADY:
        if f"runs:/{version.run_id}" != adapter:
            return Gated(UNCHANGED, "", version.number, found.before, "")
        past = reign(store, domain).past
        before = past[1].version if len(past) > 1 else None
        decision, run = version.tag("decision") or "", version.tag("gate_run") or ""
        return Gated(PROMOTE, decision, version.number, before, run)
    assert found.verdict is not None
    assert found.run is not None
    return Gated(found.outcome, found.verdict.decision, version.number, found.before, found.run)


def gated(step: DomainStep, found: Gated, seconds: float) -> DomainStep:
    """A domain's step once the gate has said."""
    return step.model_copy(
        update={
            "stage": "unchanged" if found.outcome == UNCHANGED else "done",
            "outcome": found.outcome,
            "decision": found.decision,
            "version": found.version,
            "before": found.before,
            "gate_run": found.run,
            "seconds": step.seconds + seconds,
        }
    )
