"""`lorarec data get` and `lorarec data import`: public data sets as logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import Meter, print_json, print_table, progress, say
from lorarec.cli.shared import CONTEXT

if TYPE_CHECKING:
    from lorarec.data.public.convert import DataSet
    from lorarec.data.public.watch import Watcher

_MEGABYTE = 1e6
_market = click.option(
    "--market", metavar="NAMES", help="Markets with commas between, or all (xmarket, wsdm22-xmrec)."
)
_category = click.option(
    "--category", metavar="NAMES", help="Categories with commas between (xmarket, amazon-2023)."
)
_domain_by = click.option(
    "--domain-by", metavar="HOW", help="zip or none (movielens-100k, movielens-1m)."
)
_force = click.option("--force", is_flag=True, help="Replace other logs that are there.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.command(context_settings=CONTEXT)
@click.argument("name", required=False)
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option("--list", "listing", is_flag=True, help="Show the data sets there are.")
@_market
@_category
@click.option(
    "--variant", metavar="NAME", help="5core or 0core (amazon-2023); Pure or 1K (kuairand)."
)
@_domain_by
@_force
@_json
def get(
    name: str | None,
    out: Path | None,
    listing: bool,
    market: str | None,
    category: str | None,
    variant: str | None,
    domain_by: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Download a public data set and make logs of it.

    OUT is a folder, by default data/NAME. It gets interactions.parquet, users.parquet and
    items.parquet where the source knows something of them, and the downloads in raw/. An
    interrupted download goes on where it stopped. Archives are unpacked up to a limit of 1 to 64
    GiB, by data set. Mind the licence that is printed.

    \b
    Example:
      lorarec data get --list
      lorarec data get movielens-100k
      lorarec data get xmarket data/books --category Books --market de,fr,jp
    """
    if listing:
        _print_list(as_json)
        return
    if name is None:
        raise click.UsageError(
            "Which data set? Give its NAME; `lorarec data get --list` shows all."
        )
    from lorarec.data.public.get import get_data

    given = _given(market=market, category=category, variant=variant, domain_by=domain_by)
    with _watching() as watcher:
        made = get_data(name, out, given, force, watcher)
    _print_made(made, as_json)


@click.command("import", context_settings=CONTEXT)
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
@_market
@_category
@_domain_by
@_force
@_json
def import_(
    name: str,
    path: Path,
    out: Path | None,
    market: str | None,
    category: str | None,
    domain_by: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make logs of a public data set's files that are here already.

    PATH is the archive as published, the folder it unpacks to, or one of the files. OUT is a
    folder, by default data/NAME. Markets and categories select among the files; by default all
    that are there are read.

    \b
    Example:
      lorarec data import movielens-100k ~/Downloads/ml-100k.zip
    """
    from lorarec.data.public.get import import_data

    given = _given(market=market, category=category, domain_by=domain_by)
    _print_made(import_data(name, path, out, given, force), as_json)


def _given(**options: str | None) -> dict[str, tuple[str, ...]]:
    return {
        option: tuple(part.strip() for part in (value or "").split(",") if part.strip())
        for option, value in options.items()
    }


@contextmanager
def _watching() -> Iterator[Watcher]:
    """Shows on stderr what a download says and how far it is, in megabytes."""
    from lorarec.data.public.watch import Watcher

    with ExitStack() as stack:
        meters: list[Meter] = []

        def begin(name: str, size: int | None) -> None:
            stack.close()
            total = None if size is None else size / _MEGABYTE
            meters[:] = [stack.enter_context(progress(f"{name} (MB)", total))]

        def step(size: int) -> None:
            if meters:
                meters[0].update(size / _MEGABYTE)

        def tell(text: str) -> None:
            say(text)

        yield Watcher(tell, begin, step)


def _print_list(as_json: bool) -> None:
    from lorarec.data.public.catalogue import SOURCES

    sources = list(SOURCES.values())
    if as_json:
        print_json(
            [
                {
                    "name": source.name,
                    "title": source.title,
                    "size": source.size,
                    "domain": source.domain,
                    "licence": source.licence,
                    "citation": source.citation,
                    "page": source.page,
                    "options": {choice.flag: choice.values for choice in source.choices},
                    "defaults": {choice.flag: choice.default for choice in source.choices},
                }
                for source in sources
            ]
        )
        return
    print_table(
        ("name", "download", "domains", "licence"),
        [(source.name, source.size, source.domain, source.licence) for source in sources],
        whole=("name",),
    )


def _print_made(made: DataSet, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "name": made.name,
                "path": str(made.path),
                "rows": made.rows,
                "users": made.users,
                "items": made.items,
                "domains": made.domains,
                "digest": made.digest,
                "licence": made.licence,
                "citation": made.citation,
                "options": made.chosen,
                "notes": made.notes,
                "side_tables": [str(path) for path in made.side_tables],
                "files": made.files,
            }
        )
    else:
        domains = "1 domain" if len(made.domains) == 1 else f"{len(made.domains)} domains"
        click.echo(
            f"Wrote {made.rows:,} interactions of {made.users:,} users and {made.items:,} items "
            f"in {domains} to {made.path}."
        )
        for path in made.side_tables:
            click.echo(f"Wrote {path}.")
        print_table(("domain", "rows"), list(made.domains.items()))
    for note in made.notes:
        say(note)
    say(f"Licence: {made.licence}")
    say(f"Please cite: {made.citation}")
    say(f"Next: lorarec data check {made.path}")
