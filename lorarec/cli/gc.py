"""`lorarec gc`: remove old versions and what nothing refers to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.gc import Collected


@click.command(context_settings=CONTEXT)
@click.option(
    "--keep", required=True, type=click.IntRange(min=1), metavar="N",
    help="Of versions and adapters of each domain, and of bases, the newest N stay.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove; without it nothing is touched.")
@click.option(
    "--base", "bases", multiple=True, metavar="URI",
    help="A base that is to go too, however new; refused while an adapter is on it.",
)  # fmt: skip
@click.option(
    "--index", "indexes", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="An index, whose base and adapters stay; may be given more than once.",
)  # fmt: skip
@click.option(
    "--orphans", is_flag=True,
    help="Artifacts of runs that the store does not have go too; "
    "refused while another *.db lies beside the store.",
)  # fmt: skip
@json_option
@click.pass_obj
def gc(
    settings: Settings,
    keep: int,
    yes: bool,
    bases: tuple[str, ...],
    indexes: tuple[Path, ...],
    orphans: bool,
    as_json: bool,
) -> None:
    """Remove old versions, adapters and bases that nothing refers to, and leftovers.

    Shows what would go and why; --yes removes it. A champion, a challenger or any other alias, the
    champion that a rollback would go back to, parents of adapters that stay, and bases with
    adapters on them always stay. Metrics of removed runs stay in the database as deleted runs
    until mlflow gc. Broken off, it is finished by running it again.

    \b
    Example:
      lorarec gc --keep 3
      lorarec gc --keep 3 --yes
    """
    from lorarec.jobs.gc import gc as job
    from lorarec.tracking.store import open_store

    store = open_store(settings.tracking, write=yes)
    found = job(store, keep, not yes, bases=bases, indexes=indexes, unknown=orphans)
    if as_json:
        print_json(_record(found))
        return
    if found.removed:
        print_table(
            ("what", "name", "why", "bytes"),
            [(each.what, each.name, each.why, each.bytes) for each in found.removed],
            title="would be removed" if found.dry_run else "removed",
            whole=("what", "bytes"),
        )
    if found.kept:
        print_table(
            ("what", "name", "why"),
            [(each.what, each.name, each.why) for each in found.kept],
            title="stays",
            whole=("what",),
        )
    if not found.removed:
        say("Nothing can go.")
    else:
        word = "Would free {}; --yes does." if found.dry_run else "Freed {}."
        say(word.format(f"{found.bytes:,} bytes"))


def _record(found: Collected) -> dict[str, object]:
    return {
        "dry_run": found.dry_run,
        "bytes": found.bytes,
        "removed": [vars(each) for each in found.removed],
        "kept": [vars(each) for each in found.kept],
    }
