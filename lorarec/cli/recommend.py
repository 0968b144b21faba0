"""`lorarec recommend`: the best items of a domain for one user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    adapter_option,
    base_option,
    data_option,
    domain_option,
    json_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@domain_option
@click.option("--user", required=True, metavar="U", help="The user's id.")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, metavar="K")
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def recommend(
    settings: Settings,
    domain: str,
    user: str,
    k: int,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print a user's best items of the domain's catalogue, without those it has had.

    A user that neither base nor adapter knows gets the domain's popular items, marked so.

    \b
    Example:
      lorarec recommend --domain books --user u00007 --k 5
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.recommend import as_dict, prepare
    from lorarec.jobs.recommend import recommend as job
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = job(prepare(domain, store, base, adapter, paths, listener), user, k)
    if len(found.items) < k:
        say(f"The catalogue of {domain} has only {len(found.items):,} items left for this user.")
    if as_json:
        print_json(as_dict(found))
        return
    rows = [
        (place + 1, item, score)
        for place, (item, score) in enumerate(zip(found.items, found.scores, strict=True))
    ]
    title = f"{user} in {domain}" + (f" (fallback: {found.fallback})" if found.fallback else "")
    print_table(["rank", "item", "score"], rows, title=title)
