"""`lorarec targets`: what an adapter of a base can have, and what each costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@base_option
@click.option("--rank", type=int, metavar="R", help="Of the counts.  [default: 8]")
@click.option("--domain", metavar="D", help="Count this domain's rows, not all of the base.")
@data_option
@json_option
@click.pass_obj
def targets(
    settings: Settings,
    base: str | None,
    rank: int | None,
    domain: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """List what `lorarec adapt --targets` takes for a base, with shapes and cost.

    Names may be patterns, such as item_tower.*, and each may have a rank of its own. Tables are
    counted with all their rows; with --domain, with the rows that this domain touches.

    \b
    Example:
      lorarec targets --rank 4
      lorarec targets --domain books
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.targets import targets as job
    from lorarec.tracking.store import open_store

    rank = settings.adapt.single_rank if rank is None else rank
    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = job(store, rank, base, domain, paths, listener)
    if as_json:
        print_json(
            {
                "base": found.run,
                "base_digest": found.base.digest,
                "domain": found.domain,
                "targets": [asdict(offer) for offer in found.offers],
            }
        )
        return
    print_table(
        ["target", "adds", "shape", "largest rank", "rank", "numbers", "full"],
        [
            (o.name, o.what, "{:,} x {:,}".format(*o.shape), o.largest, o.rank, o.numbers, o.full)
            for o in found.offers
        ],
        whole=("target",),
    )
    whose = "every row of the base" if domain is None else f"the rows that {domain} touches"
    say(f"Tables are counted with {whose}; s = alpha / √rank.")
    names = ",".join(o.name if o.rank is None else f"{o.name}:{o.rank}" for o in found.offers[:3])
    say(f"Next: lorarec adapt --domain {domain or 'DOMAIN'} --targets {names},bias")
