"""`lorarec adapters quantize`: an adapter in fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lorarec.cli.adapters_shared import max_loss_option, report
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("adapter", metavar="ADAPTER")
@click.option(
    "--to", "storage", type=click.Choice(["fp16", "int8"]), required=True,
    help="Halves; or 8 bits and an exponent a row, all but row factors as halves.",
)  # fmt: skip
@max_loss_option
@base_option
@data_option
@json_option
@click.pass_obj
def quantize(
    settings: Settings, adapter: str, storage: Literal["fp16", "int8"], max_loss: float | None,
    base: str | None, paths: tuple[Path, ...], as_json: bool,
) -> int:  # fmt: skip
    """Store an adapter in 16 or 8 bits a number, with the loss of recall measured.

    The result is a new adapter in a run of its own, measured on validation before and after. It is
    read as float32 again. Commands take it only where it is named.

    \b
    Example:
      lorarec adapters quantize books --to int8
      lorarec adapters quantize books --to fp16 --max-loss .0005
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.derive_adapter import Asked, quantize_adapter
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        asked = Asked(base, paths, max_loss)
        found = quantize_adapter(settings, store, adapter, storage, asked, listener)
    return report(found, as_json, max_loss)
