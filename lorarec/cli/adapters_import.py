"""`lorarec adapters import`: an adapter that PEFT trained, or that was exported to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.adapters_shared import report
from lorarec.cli.shared import CONTEXT, data_option, json_option, named_parts

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command("import", context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--domain", metavar="D", help="The adapter's.  [default: that of the export]")
@click.option(
    "--name", "names", multiple=True, callback=named_parts, metavar="TARGET=MODULE",
    help="Which module is the users, items or a layer, where it is called otherwise.",
)  # fmt: skip
@click.option("--base", metavar="URI", help="A base.  [default: that of the export]")
@data_option
@json_option
@click.pass_obj
def import_(
    settings: Settings, folder: Path, domain: str | None, names: dict[str, str],
    base: str | None, paths: tuple[Path, ...], as_json: bool,
) -> int:  # fmt: skip
    """Make an adapter of a folder in PEFT's format.

    A folder that lorarec exported goes onto its own base and no other. One that PEFT wrote names
    neither base nor ids: it needs --domain and --base, and rows are taken as they stand. Rows whose
    factors are not zero become the touched ones. The result is a run of its own, measured on
    validation beside the bare base; commands take it only where it is named.

    \b
    Example:
      lorarec adapters import books-peft
      lorarec adapters import trained --domain books --base runs:/ID --name items=item_embedding
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.derive_adapter import Asked
    from lorarec.jobs.peft_adapter import import_peft
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        asked = Asked(base, paths)
        found = import_peft(settings, store, folder, domain, asked, names, listener)
    return report(found, as_json, None)
