"""`lorarec doctor`: is the store well, and what have killed processes left in it?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.doctor import Examined, LeftRun

SOMETHING_IS_LEFT = 1


@click.command(context_settings=CONTEXT)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be closed.")
@click.option("--all", "every", is_flag=True, help="Close runs too of which nobody here can tell.")
@click.option(
    "--older-than",
    metavar="7d",
    help="Close those of them that began longer ago: 12h, 7d, 2w.",
)
@json_option
@click.pass_obj
def doctor(
    settings: Settings, dry_run: bool, every: bool, older_than: str | None, as_json: bool
) -> int:
    """Check that the store answers, close runs whose process was killed, and look at champions.

    A run records host, process number and start of its process. Where that process is gone, the run
    is closed as KILLED and what it was writing is removed. A run of another machine, or of before
    this was recorded, is closed only with --all or --older-than. Exit code 0 where nothing is left
    to do, 1 where something is, 2 where the store does not answer or has another schema.

    \b
    Example:
      lorarec doctor --dry-run
      lorarec doctor --older-than 7d
    """
    from lorarec.data.folds import window_seconds
    from lorarec.jobs.doctor import examine
    from lorarec.tracking.database import NoStoreYetError
    from lorarec.tracking.store import open_store

    age = timedelta(seconds=window_seconds(older_than)) if older_than else None
    try:
        store = open_store(settings.tracking, write=False)
    except NoStoreYetError as error:
        say(str(error))
        return 0
    if not dry_run:
        store = open_store(settings.tracking)
    found = examine(store, dry_run=dry_run, every=every, older_than=age)
    if as_json:
        print_json(_record(found))
    else:
        _print(found)
    return 0 if found.healthy else SOMETHING_IS_LEFT


def _print(found: Examined) -> None:
    say(f"The store {found.store} answers and its schema fits.")
    if found.runs:
        print_table(
            ("run", "kind", "began", "process", "now"),
            [
                (left.run.run_id, left.run.kind, left.run.started, left.process, _fate(found, left))
                for left in found.runs
            ],
            title="recorded as running",
            whole=("run", "began"),
        )
    else:
        say("No run is recorded as running.")
    if any(left.process == "unknown" and not left.closed for left in found.runs):
        say("Where no process is known, nothing was closed: see --older-than 7d and --all")
    if found.champions:
        print_table(
            ("domain", "champion", "state"),
            [(each.domain, each.uri, each.trouble or "well") for each in found.champions],
        )


def _fate(found: Examined, left: LeftRun) -> str:
    if not left.closed:
        return "left as it is"
    word = "would be closed" if found.dry_run else "closed as killed"
    return f"{word}, {left.unfinished} unfinished removed" if left.unfinished else word


def _record(found: Examined) -> dict[str, object]:
    return {
        "store": found.store,
        "healthy": found.healthy,
        "dry_run": found.dry_run,
        "running": [
            {
                "run_id": left.run.run_id,
                "name": left.run.name,
                "kind": left.run.kind,
                "started": left.run.started,
                "process": left.process,
                "closed": left.closed,
                "unfinished_removed": left.unfinished,
            }
            for left in found.runs
        ],
        "champions": [
            {"domain": each.domain, "uri": each.uri, "trouble": each.trouble or None}
            for each in found.champions
        ],
    }
