"""`lorarec runs`: what was done lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.config import Settings

if TYPE_CHECKING:
    from lorarec.tracking import RunInfo


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_obj
def runs(settings: Settings, limit: int, as_json: bool) -> None:
    """List recent runs, newest first: kind, domain, rank, recall, when.

    \b
    Example:
      lorarec runs --limit 5
      lorarec runs --json
    """
    from lorarec.tracking import open_store, recent_runs
    from lorarec.tracking.database import NoStoreYetError

    found: list[RunInfo] = []
    try:
        found = recent_runs(open_store(settings.tracking, write=False), limit)
    except NoStoreYetError as error:
        say(str(error))
    else:
        if not found:
            say("No runs yet. Begin with: lorarec pretrain --data PATH")
    if as_json:
        print_json([_record(info) for info in found])
    elif found:
        print_table(
            ("kind", "domain", "rank", "recall@20", "when", "status", "run"),
            [_row(info) for info in found],
            whole=("rank", "when", "run"),
        )


def _row(info: RunInfo) -> tuple[object, ...]:
    rank = info.tag("rank") if info.rank is None else info.rank
    status = info.status.lower()
    return info.kind, info.domain, rank, _recall(info), info.started, status, info.run_id


def _recall(info: RunInfo) -> str | float | None:
    """The test's recall at 20 as a number; any other says which arm, part and cut it is."""
    if info.recall is None:
        return None
    key, value = info.recall
    if key in {"recall_at_20", "test_recall_at_20"}:
        return value
    of, _, cut = key.replace("recall_at_", "@").rpartition("@")
    at = "" if cut == "20" else f"@{cut}"
    on = "" if info.part in {None, "test"} else f" {info.part}"
    return f"{value:.4f} {of.strip('_./')}{at}{on}"


def _record(info: RunInfo) -> dict[str, object]:
    key, value = info.recall or (None, None)
    return {
        "run_id": info.run_id,
        "uri": info.uri,
        "name": info.name,
        "kind": info.kind,
        "domain": info.domain,
        "rank": info.rank,
        "targets": info.params.get("targets"),
        "part": info.part,
        "recall": value,
        "recall_metric": key,
        "status": info.status,
        "started": info.started,
        "ended": info.ended,
    }
