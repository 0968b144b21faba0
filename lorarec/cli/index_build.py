"""`lorarec index build`: an index over a domain's catalogue, measured beside exact search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.index_show import print_index
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
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder that is new or empty.",
)  # fmt: skip
@click.option(
    "--index", "factory", default="auto", show_default=True, metavar="TEXT",
    help="Flat (exact), a FAISS factory string such as HNSW32 or IVF1024,Flat, or auto.",
)  # fmt: skip
@click.option(
    "--recall", default=0.98, show_default=True, type=float, metavar="SHARE",
    help="Of exact search's top k, that the effort of searching is chosen for.",
)  # fmt: skip
@click.option("--k", type=click.IntRange(min=1), default=20, show_default=True, metavar="K")
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def build(
    settings: Settings,
    domain: str,
    out: Path,
    factory: str,
    recall: float,
    k: int,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Build an index over a domain's catalogue and say what it loses and gains.

    Recall at k against exact search and queries a second of both are measured on users of the
    domain; scores are exact in any case. auto takes exact search below 50,000 items.

    \b
    Example:
      lorarec index build --domain books --index HNSW32 --out data/books-index
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.index_domain import build_index
    from lorarec.jobs.recommend import prepare
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        ready = prepare(domain, store, base, adapter, paths, listener)
        info = build_index(ready, out, factory, recall, k, listener)
    print_index(out, info, as_json)
