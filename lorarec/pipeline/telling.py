"""A retraining as rows of the history and as the message of the webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lorarec.config import Settings
from lorarec.errors import LorarecError, NotFoundError
from lorarec.evaluation.metrics import metric_key
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import find_adapter
from lorarec.pipeline.alerts import post
from lorarec.pipeline.due import DAY
from lorarec.pipeline.history import IDLE, Row
from lorarec.pipeline.state import DomainStep, Journal
from lorarec.tracking.champions import reign
from lorarec.tracking.model_names import model_name
from lorarec.tracking.registry import find_run
from lorarec.tracking.store import Store

SERVES = {"promote": "challenger", "keep-champion": "champion", "keep-base": "base"}
"""The arm that serves after a decision."""


def rows_of(settings: Settings, store: Store, journal: Journal) -> list[Row]:
    """A row for each domain of the data set, by name."""
    steps = journal.domains or {}
    rows = [_row(settings, store, journal, name, step) for name, step in steps.items()]
    rows += [
        Row(journal.id, journal.at, name, IDLE, reason=why, **_serving(store, journal, name))
        for name, why in journal.idle.items()
    ]
    return sorted(rows, key=lambda row: row.domain)


def _row(settings: Settings, store: Store, journal: Journal, name: str, step: DomainStep) -> Row:
    return Row(
        retrain=journal.id,
        at=journal.at,
        domain=name,
        verdict=step.decision if step.stage == "done" else step.stage,
        drift=step.drift,
        bytes=step.bytes or None,
        seconds=round(step.seconds, 3),
        rows=step.new_rows,
        base=journal.base.digest if journal.base else "",
        reason=step.error or step.reason,
        **_measured(settings, store, step),
        **_serving(store, journal, name),
    )


def _measured(settings: Settings, store: Store, step: DomainStep) -> dict[str, Any]:
    """Recall and coverage of what serves since, out of the run of the gate."""
    if not step.gate_run:
        return {}
    try:
        metrics = find_run(store, step.gate_run.removeprefix("runs:/")).metrics
    except NotFoundError:  # deleted since: what it measured is lost, and nothing else
        return {}
    cut, arm = settings.gate.cut, SERVES[step.decision]
    if arm == "base" and step.before is not None:
        arm = "champion"  # a champion that is worse than the base is told of, and serves on
    return {
        "recall": metrics.get(f"{arm}_{metric_key('recall', cut)}"),
        "coverage": metrics.get(f"{arm}_catalogue_coverage_at_{cut}"),
    }


def _serving(store: Store, journal: Journal, name: str) -> dict[str, Any]:
    """The version that serves, and how far behind what it was trained on is."""
    number = reign(store, name).version
    learnt = journal.base.learnt_to if journal.base else None
    if number is not None:
        try:
            info = find_adapter(store, f"models:/{model_name(name)}/{number}", None, SILENT).info
        except LorarecError:
            return {"version": number}
        learnt = info.split.t_valid
    fresh = None if learnt is None else round((journal.at - learnt) / DAY, 3)
    return {"version": number, "fresh_days": fresh}


def words(error: Exception) -> str:
    """An error as it is told: one of ours is a sentence already, another needs its kind."""
    return str(error) if isinstance(error, LorarecError) else f"{type(error).__name__}: {error}"


def message(journal: Journal, rows: list[Row]) -> dict[str, Any]:
    """What a webhook gets at the end of a retraining; every key is there each time."""
    verdicts: dict[str, int] = {}
    for row in rows:
        verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    failed = journal.failed
    counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    end = f"; failed: {', '.join(sorted(failed))}" if failed else ""
    return {
        "text": f"lorarec retraining {journal.id}: {counted or 'no domain'}{end}",
        "retrain": journal.id,
        "at": datetime.fromtimestamp(journal.at, tz=UTC).isoformat(),
        "ok": not failed,
        "error": None,
        "verdicts": verdicts,
        "failed": failed,
        "postponed": sorted(journal.postponed),
    }


def broken_off(error: Exception, retrain: str | None = None) -> dict[str, Any]:
    """What a webhook gets of a retraining that an error ended.

    Args:
        error: That.
        retrain: Its id; None where it could not be begun.
    """
    told = words(error)
    what = f"retraining {retrain} was broken off" if retrain else "a retraining could not be begun"
    return {
        "text": f"lorarec: {what}: {told}",
        "retrain": retrain,
        "at": None,
        "ok": False,
        "error": told,
        "verdicts": {},
        "failed": {},
        "postponed": [],
    }


def alert(settings: Settings, told: dict[str, Any], listen: Listener) -> str:
    """Tell the webhook, where there is one; why it did not get it, else empty."""
    url = settings.pipeline.webhook
    if url is None:
        return ""
    why = post(url.get_secret_value(), told, settings.pipeline.webhook_timeout_seconds)
    if why:
        listen.say(f"Warning: the webhook did not get the outcome: {why}. Nothing else failed.")
    return why
