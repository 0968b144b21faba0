"""`lorarec report`: one page about what was compared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lorarec.cli.output import print_json, say
from lorarec.cli.shared import CONTEXT, data_option, json_option
from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"),
    show_default=True, metavar="FILE", help="The page.",
)  # fmt: skip
@click.option(
    "--items", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Titles: a table with the column item_id.",
)  # fmt: skip
@click.option(
    "--title-column", default="title", show_default=True, metavar="NAME",
    help="The titles' column in it.",
)  # fmt: skip
@click.option(
    "--users", type=click.IntRange(min=0), default=2, show_default=True, metavar="N",
    help="How many users of each domain to show lists of.",
)  # fmt: skip
@data_option
@json_option
@click.pass_obj
def report(
    settings: Settings,
    runs: tuple[str, ...],
    out: Path,
    items: Path | None,
    title_column: str,
    users: int,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write one HTML page about runs: tables with intervals, pictures, lists before and after.

    A RUN is an evaluate (of one domain or of all), an adapt, full or sweep, a pretrain or import:
    runs:/ID, an id, or models:/NAME@ALIAS. A run that is no evaluation stands for the newest one
    with it; none given, for the newest base and every domain that was evaluated on it.

    The page needs no network and no script; it and its pictures are kept in a run of their own.
    The lists are of the user that gains most, the one that loses most, and others by a seeded draw.

    \b
    Example:
      lorarec report
      lorarec report --items items.csv --title-column name --out books.html
      lorarec report runs:/0123456789abcdef0123456789abcdef
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.report import report as job
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        found = job(
            settings, store, runs, out,
            items=items, title_column=title_column, users=users, paths=paths, listen=listener,
        )  # fmt: skip
    if as_json:
        print_json(asdict(found))
        return
    click.echo(str(found.path))
    say(
        f"{len(found.evaluations)} domains, {len(found.pictures)} pictures, "
        f"{found.bytes / 1024:,.0f} KiB. Recorded as {found.run}. Open it in any browser."
    )
