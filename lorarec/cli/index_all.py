"""`lorarec index all`: one index for all domains of a base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.index_show import print_domains
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command("all", context_settings=CONTEXT)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder that is new or empty.",
)  # fmt: skip
@base_option
@data_option
@json_option
@click.pass_obj
def all_(
    settings: Settings, out: Path, base: str | None, paths: tuple[Path, ...], as_json: bool
) -> None:
    """Build one exact index for all domains: item vectors once, of each domain its factors.

    Every domain of the logs is in it with its newest adapter on the base, or with the bare base.
    The bytes are told beside those of an index for each. For matrix factorization.

    \b
    Example:
      lorarec index all --out data/all-index
      lorarec recommend --domain books --user u00007 --index data/all-index
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.index_domains import build_all
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        info = build_all(store, out, base, paths, listener)
    print_domains(out, info, as_json)
