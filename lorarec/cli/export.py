"""`lorarec export`: a domain's merged model for serving without lorarec."""

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
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder that is new or empty.",
)  # fmt: skip
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def export(
    settings: Settings,
    domain: str,
    out: Path,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write a domain's merged model: vectors, FAISS index, ids, catalogue and a program.

    The adapter is in the vectors, an item's bias is their last dimension, and example.py beside
    them ranks as lorarec recommend does with NumPy, safetensors and FAISS alone. The folder holds
    what users have had: keep it as you keep the logs.

    \b
    Example:
      lorarec export --domain books --out data/books-model
      python data/books-model/example.py u00007 5
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.recommend import prepare
    from lorarec.serving.export import export_domain
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        ready = prepare(domain, store, base, adapter, paths, listener)
        info = export_domain(ready, out)
    if as_json:
        print_json({"out": str(out), **info.model_dump()})
        return
    rows = [
        (name, round((out / name).stat().st_size / 1000), digest[:12])
        for name, digest in info.files.items()
    ]
    print_table(["file", "kB", "sha256"], rows, title=f"{domain} in {out}")
    say(f"{info.users:,} users and {info.items:,} items. Next: python {out}/example.py USER 10")
