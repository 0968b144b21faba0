"""`lorarec pipeline`: retrain what is due, see where it stands, and roll past logs day by day."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.output import NOTHING, print_json, print_table, say
from lorarec.cli.pipeline_serve import serve
from lorarec.cli.pipeline_ui import ui
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.pipeline.backfill import Day
    from lorarec.pipeline.history import Row
    from lorarec.pipeline.retrain import Retrained
    from lorarec.pipeline.status import Status

LEFT_UNDONE = 1
"""Exit code of a retraining that came to its end and has something that failed."""


@click.group(context_settings=CONTEXT)
def pipeline() -> None:
    """Retrain what is due: new logs, base, adapters, gate, champions, history.

    [pipeline] in lorarec.toml says where the logs are and when what is due.

    \b
    Example:
      lorarec pipeline run
      lorarec pipeline status
      lorarec pipeline serve --cron "0 3 * * *"
      lorarec pipeline backfill --from 2026-01-01 --to 2026-02-01
    """


for command in (serve, ui):
    pipeline.add_command(command)


@pipeline.command(context_settings=CONTEXT)
@click.option("--base", "force_base", is_flag=True, help="Pretrain a base, due or not.")
@click.option(
    "--domain", "domains", multiple=True, metavar="D",
    help="Adapt this one alone, due or not; may be repeated.",
)  # fmt: skip
@click.option("--all", "force", is_flag=True, help="Adapt every domain that has a new row.")
@click.option("--anew", is_flag=True, help="Give up a retraining that was broken off.")
@json_option
@click.pass_obj
def run(
    settings: Settings, force_base: bool, domains: tuple[str, ...], force: bool, anew: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Retrain once, now: take new logs, train what is due, let the gate decide.

    One that was broken off is gone on with. A domain that fails keeps its champion and stops no
    other. Exit code 0 where all that was due was done, also where the gate kept a champion; 1 where
    a domain, the base or a file of logs failed; 2 where nothing could be begun.

    \b
    Example:
      lorarec pipeline run
      lorarec pipeline run --domain books --json
    """
    from lorarec.cli.listening import listening
    from lorarec.pipeline.retrain import Ask, retrain
    from lorarec.tracking.store import open_store

    ask = Ask(force_base, domains, force, anew)
    with listening() as listener:
        found = retrain(
            settings, lambda: open_store(settings.tracking), int(time.time()), ask, listener
        )
    if as_json:
        print_json(_record(found))
    else:
        print_rows(found.rows, f"retraining {found.journal.id}")
        if found.page is not None:
            say(f"Page: {found.page}")
    for what, why in found.left_undone.items():
        say(f"Failed: {what}: {why}")
    return LEFT_UNDONE if found.left_undone else 0


@pipeline.command(context_settings=CONTEXT)
@json_option
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show the last retraining of each domain: when, verdict, recall, and when the next is.

    The next one is told by [pipeline] cron, in UTC.

    \b
    Example:
      lorarec pipeline status
      lorarec pipeline status --json
    """
    from lorarec.pipeline.status import status as job

    found = job(settings, int(time.time()))
    if as_json:
        print_json(_status(found))
        return
    rows = [
        (
            row.domain,
            _moment(row.at),
            row.verdict,
            row.recall,
            row.version,
            row.fresh_days,
            _moment(found.next),
        )
        for row in found.domains.values()
    ]
    columns = ("domain", "when", "verdict", "recall", "version", "days behind", "next")
    print_table(columns, rows, whole=("domain", "when", "next"))
    if found.running:
        say(f"The retraining {found.journal.id} is at work.")
    elif found.broken_off:
        why = f": {found.journal.error}" if found.journal.error else ""
        say(f"The retraining {found.journal.id} was broken off{why}. lorarec pipeline run goes on.")
    for what, why in found.journal.failed.items():
        say(f"Failed: {what}: {why}")


@pipeline.command(context_settings=CONTEXT)
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
              help="The first day, UTC; it has all rows before it too.")  # fmt: skip
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
              help="The last day, UTC.")  # fmt: skip
@click.option(
    "--out", default="backfill", show_default=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of data set, store, history and pages; the project's own are left alone.",
)  # fmt: skip
@click.option("--all", "force", is_flag=True, help="Adapt every domain that has a new row.")
@json_option
@click.pass_obj
def backfill(
    settings: Settings, first: datetime, last: datetime, out: Path, force: bool, as_json: bool
) -> int:
    """Roll past logs day by day, as if the retraining had run at the end of each day.

    Each day sees the rows up to its end and no later ones. Stopped anywhere, the same command goes
    on. The page DIR/retraining/page.html shows all domains over time.

    \b
    Example:
      lorarec pipeline backfill --from 2026-01-01 --to 2026-02-01
    """
    from lorarec.cli.listening import listening
    from lorarec.pipeline.backfill import backfill as job
    from lorarec.pipeline.retrain import Ask

    with listening() as listener:
        found = job(settings, first.date(), last.date(), out, Ask(force_domains=force), listener)
    if as_json:
        days = [
            {"day": str(d.day), "domains": [_row(row) for row in d.rows], "failed": d.failed}
            for d in found.days
        ]
        print_json({"out": str(out), "days": days})
    else:
        print_table(
            ("day", "promoted", "kept", "not due", "failed", "recall", "seconds"),
            [_day(each) for each in found.days],
            whole=("day",),
        )
        say(f"Page: {found.page}")
    for what, why in found.failed.items():
        say(f"Failed: {what}: {why}")
    return LEFT_UNDONE if found.failed else 0


def _day(day: Day) -> tuple[object, ...]:
    """Counts of verdicts, the mean recall of what serves, and seconds."""
    verdicts = [row.verdict for row in day.rows]
    kept = sum(verdict in ("keep-champion", "keep-base", "unchanged") for verdict in verdicts)
    recalls = [row.recall for row in day.rows if row.recall is not None]
    return (
        str(day.day),
        verdicts.count("promote"),
        kept,
        verdicts.count("idle"),
        verdicts.count("failed"),
        sum(recalls) / len(recalls) if recalls else None,
        sum(row.seconds or 0.0 for row in day.rows),
    )


def print_rows(rows: list[Row], title: str) -> None:
    """What became of each domain, as a table."""
    columns = ("domain", "verdict", "recall", "drift", "rows", "bytes", "seconds", "why")
    print_table(
        columns,
        [
            (r.domain, r.verdict, r.recall, r.drift, r.rows, r.bytes, r.seconds, r.reason[:200])
            for r in rows
        ],
        title=title,
        whole=("domain",),
    )


def _moment(second: int | None) -> datetime | str:
    return NOTHING if second is None else datetime.fromtimestamp(second, tz=UTC)


def _iso(second: int | None) -> str | None:
    return None if second is None else datetime.fromtimestamp(second, tz=UTC).isoformat()


def _record(found: Retrained) -> dict[str, Any]:
    journal = found.journal
    return {
        "retrain": journal.id,
        "at": _iso(journal.at),
        "resumed": found.resumed,
        "logs": journal.ingested.model_dump() if journal.ingested else None,
        "base": journal.base.model_dump() if journal.base else None,
        "domains": [_row(row) for row in found.rows],
        "failed": found.left_undone,
        "postponed": sorted(journal.postponed),
        "page": None if found.page is None else str(found.page),
        "alert": found.alert or None,
    }


def _row(row: Row) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(row), "at": _iso(row.at)}


def _status(found: Status) -> dict[str, Any]:
    journal = found.journal
    return {
        "retrain": journal.id,
        "at": _iso(journal.at),
        "finished": journal.finished,
        "running": found.running,
        "error": journal.error or None,
        "next": _iso(found.next),
        "failed": journal.failed,
        "postponed": sorted(journal.postponed),
        "idle": found.idle,
        "domains": {name: _row(row) for name, row in found.domains.items()},
    }
