"""`lorarec forget`: take users and items out of a store and of what it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.forget import Forgot

_FILE = click.Path(path_type=Path)


@click.command(context_settings=CONTEXT)
@click.option("--user", "users", multiple=True, metavar="U", help="A user; may be repeated.")
@click.option("--item", "items", multiple=True, metavar="I", help="An item; may be repeated.")
@click.option(
    "--users", "user_files", multiple=True, type=_FILE, metavar="FILE",
    help="Users: a line each in .txt, or a table with user_id.",
)  # fmt: skip
@click.option(
    "--items", "item_files", multiple=True, type=_FILE, metavar="FILE",
    help="Items: a line each in .txt, or a table with item_id.",
)  # fmt: skip
@click.option(
    "--also", multiple=True, type=_FILE, metavar="DIR",
    help="A base, adapter, index or prepared data set outside of the store; may be repeated.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
@click.option("--finish", is_flag=True, help="Finish what was broken off; takes no ids.")
@json_option
@click.pass_obj
def forget(
    settings: Settings,
    users: tuple[str, ...],
    items: tuple[str, ...],
    user_files: tuple[Path, ...],
    item_files: tuple[Path, ...],
    also: tuple[Path, ...],
    dry_run: bool,
    finish: bool,
    as_json: bool,
) -> None:
    """Take users and items out of prepared data, bases, adapters, indexes, tables and reports.

    Their rows are emptied and every other row keeps its number, vector and score. All of it happens
    at once: broken off, the store is as before or is finished by the next forget.
    Logs are not touched: what to delete there is said. What other rows have learnt from theirs
    stays until you pretrain again.

    \b
    Example:
      lorarec forget --user u00017 --dry-run
      lorarec forget --user u00017 --also data/books-index
    """
    from lorarec.cli.listening import listening
    from lorarec.data.forgotten import Forgotten
    from lorarec.jobs.forget import forget as job
    from lorarec.tracking.champions import deciding
    from lorarec.tracking.flip import finish as finish_flip
    from lorarec.tracking.store import open_store

    if not also:
        open_store(settings.tracking, write=False, unfinished=True)  # makes none
    store = open_store(settings.tracking, unfinished=True)
    with deciding(store):
        if finish_flip(store):
            say("What was broken off is finished.")
    if finish:
        return
    forgotten = Forgotten.of(_ids(users, user_files, "user_id"), _ids(items, item_files, "item_id"))
    with listening() as listen:
        found = job(store, forgotten, also, dry_run, listen)
    if as_json:
        print_json(_record(found))
    else:
        _print(found)


def _ids(given: tuple[str, ...], files: tuple[Path, ...], column: str) -> list[str]:
    from lorarec.jobs.id_files import read_id_file

    return [*given, *(each for file in files for each in read_id_file(file, column))]


def _print(found: Forgot) -> None:
    if found.touched:
        print_table(
            ("what", "name", "how"),
            [(each.what, each.name, each.how) for each in found.touched],
            title="would be touched" if found.dry_run else "touched",
            whole=("what",),
        )
    else:
        say("Nothing here names them.")
    say("Out of reach:")
    for each in found.out_of_reach:
        say(f"- {each}")


def _record(found: Forgot) -> dict[str, object]:
    return {
        "dry_run": found.dry_run,
        "rows": found.rows,
        "touched": [vars(each) for each in found.touched],
        "out_of_reach": found.out_of_reach,
    }
