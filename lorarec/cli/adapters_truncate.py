"""`lorarec adapters truncate`: an adapter of a smaller rank, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.adapters_shared import max_loss_option, report
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("adapter", metavar="ADAPTER")
@click.option("--rank", type=int, required=True, metavar="R", help="Of every target above it.")
@max_loss_option
@base_option
@data_option
@json_option
@click.pass_obj
def truncate(
    settings: Settings, adapter: str, rank: int, max_loss: float | None, base: str | None,
    paths: tuple[Path, ...], as_json: bool,
) -> int:  # fmt: skip
    """Bring an adapter to a smaller rank: the nearest there is, by QR and SVD of its factors.

    Full fine-tuning becomes an adapter too. The result is a new adapter in a run of its own,
    measured on validation before and after. Commands take it only where it is named. Nearest is not
    best: what is kept of the norm says little of what is kept of recall, so look at both.

    \b
    Example:
      lorarec adapters truncate books --rank 4
      lorarec adapters truncate books --rank 2 --max-loss .002
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.derive_adapter import Asked, truncate_adapter
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        asked = Asked(base, paths, max_loss)
        found = truncate_adapter(settings, store, adapter, rank, asked, listener)
    return report(found, as_json, max_loss)
