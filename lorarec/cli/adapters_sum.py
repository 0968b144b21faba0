"""`lorarec adapters sum`: one adapter of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.adapters_shared import max_loss_option, report, weights_of
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command("sum", context_settings=CONTEXT)
@click.argument("adapters", nargs=-1, required=True, metavar="ADAPTER...")
@click.option(
    "--weights", required=True, callback=weights_of, metavar="LIST",
    help="One for each adapter, such as .5,.5; a negative one takes away.",
)  # fmt: skip
@click.option("--rank", type=int, metavar="R", help="Truncate the sum; else ranks add up.")
@click.option("--domain", metavar="D", help="The sum's domain.  [default: the first adapter's]")
@max_loss_option
@base_option
@data_option
@json_option
@click.pass_obj
def sum_(
    settings: Settings, adapters: tuple[str, ...], weights: list[float], rank: int | None,
    domain: str | None, max_loss: float | None, base: str | None, paths: tuple[Path, ...],
    as_json: bool,
) -> int:  # fmt: skip
    """Add adapters of one base up, with weights, exactly.

    What moves known rows, the transform and the biases are summed; vectors of ids that the base has
    never seen are averaged. The sum is a new adapter in a run of its own, measured on validation
    beside what it was made of. Commands take it only where it is named.

    \b
    Example:
      lorarec adapters sum books movies --weights .5,.5
      lorarec adapters sum books movies games --weights 1,.3,.3 --rank 8
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.derive_adapter import Asked, sum_adapters
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        asked = Asked(base, paths, max_loss)
        found = sum_adapters(settings, store, adapters, weights, rank, domain, asked, listener)
    return report(found, as_json, max_loss)
