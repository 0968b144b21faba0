"""`lorarec index add` and `remove`: an index with more or fewer items, as a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.index_show import folder_argument, print_index
from lorarec.cli.output import say
from lorarec.cli.shared import CONTEXT, adapter_option, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings

items_file = click.option(
    "--items", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Ids of items: a line each in .txt, or a table with item_id.",
)  # fmt: skip
out_option = click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="The changed index: a folder that is new or empty.",
)  # fmt: skip


@click.command(context_settings=CONTEXT)
@folder_argument
@items_file
@out_option
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def add(
    settings: Settings,
    folder: Path,
    items: Path,
    out: Path,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write an index with more items, whose vectors base and adapter have.

    Lists and codes stay those that the first items trained; recall is measured again.

    \b
    Example:
      lorarec index add data/books-index --items new.txt --out data/books-index-2
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.index_domain import add_items
    from lorarec.jobs.recommend import prepare
    from lorarec.retrieval.artefact import load_index
    from lorarec.tracking.store import open_store

    domain = load_index(folder).info.domain
    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        ready = prepare(domain, store, base, adapter, paths, listener)
        done = add_items(folder, ready, items, out, listener)
    say(f"Added {done.items:,} items.")
    print_index(out, done.info, as_json)


@click.command(context_settings=CONTEXT)
@folder_argument
@items_file
@out_option
@json_option
def remove(folder: Path, items: Path, out: Path, as_json: bool) -> None:
    """Write an index without some items.

    FAISS keeps their vectors, which are passed over; once they are more than a fifth of it, the
    index is built anew. Recall is not measured again.

    \b
    Example:
      lorarec index remove data/books-index --items gone.txt --out data/books-index-2
    """
    from lorarec.jobs.index_domain import remove_items

    done = remove_items(folder, items, out)
    say(f"Removed {done.items:,} items{', and built the index anew' if done.rebuilt else ''}.")
    print_index(out, done.info, as_json)
