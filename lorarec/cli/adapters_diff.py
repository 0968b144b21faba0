"""`lorarec adapters diff`: what changes from one adapter to another."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, base_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("adapters", nargs=2, metavar="A B")
@base_option
@json_option
@click.pass_obj
def diff(settings: Settings, adapters: tuple[str, str], base: str | None, as_json: bool) -> None:
    """Compare two adapters of one base: how far their vectors and biases are apart.

    |A - B| is the distance of a row's two vectors, over the rows that either has touched; of the
    bias the difference over items of either; of grown rows over those of both; of the transform its
    effect on vectors of length 1. |A| and |B| are how far each moves the base.

    \b
    Example:
      lorarec adapters diff books movies
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.describe_adapter import compare_adapters
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = compare_adapters(store, adapters, base, listener)
    first, second = found.named
    if as_json:
        print_json(
            {
                "a": first.name,
                "b": second.name,
                "base_digest": first.info.base_digest,
                "base_lengths": found.lengths,
                "parts": [asdict(change) for change in found.changes],
            }
        )
        return
    print_table(
        ["part", "only A", "only B", "both", "mean |A - B|", "max |A - B|", "mean |A|", "mean |B|"],
        [
            (c.part, c.only_a, c.only_b, c.both, c.mean, c.largest, c.mean_a, c.mean_b)
            for c in found.changes
        ],
        title=f"A {first.name}, B {second.name}",
        whole=("part",),
    )
    lengths = ", ".join(f"{value:.4f} of {name}" for name, value in found.lengths.items())
    say(f"For comparison, the mean length of the base's rows: {lengths}.")
