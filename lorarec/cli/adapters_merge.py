"""`lorarec adapters merge`: an adapter written into a copy of its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, base_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("adapter", metavar="ADAPTER")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
    help="A new or empty folder for the base.",
)  # fmt: skip
@base_option
@json_option
@click.pass_obj
def merge(settings: Settings, adapter: str, out: Path, base: str | None, as_json: bool) -> None:
    """Write a base that has an adapter's deltas in its tables, as a copy.

    It scores as base and adapter do, and knows the ids that the adapter has grown. Every command
    takes the folder for --base; base.json names the base and the adapter it is made of. The base
    itself is not touched.

    \b
    Example:
      lorarec adapters merge books --out books-base
      lorarec recommend --domain books --user u00000 --base books-base --adapter none
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.merge_adapter import merge_adapter
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = merge_adapter(store, adapter, out, base, listener)
    info = found.base.info
    assert info.merged is not None
    users, items = len(found.base.users), len(found.base.items)
    if as_json:
        print_json(
            {
                "folder": str(found.folder),
                "adapter": found.named.name,
                "base_digest": info.digest,
                "merged": info.merged.model_dump(),
                "users": users,
                "items": items,
                "bytes_on_disk": found.stored,
            }
        )
        return
    print_table(
        ["base", "digest", "merged from", "adapter", "users", "items", "kB"],
        [
            (
                str(found.folder),
                info.digest[:12],
                info.merged.base_digest[:12],
                info.merged.adapter_digest[:12],
                users,
                items,
                round(found.stored / 1000),
            )
        ],
    )
    domain = info.merged.domain
    say(f"Next: lorarec evaluate --domain {domain} --base {out} --adapter none --on valid")
