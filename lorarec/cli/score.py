"""`lorarec score`: scores of given pairs, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json
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
    "--pairs", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Parquet, CSV, TSV or NDJSON with user_id and item_id.",
)  # fmt: skip
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="The same rows with a column score; the suffix says the format.",
)  # fmt: skip
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def score(
    settings: Settings,
    domain: str,
    pairs: Path,
    out: Path,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Score given (user, item) pairs: re-rank somebody's candidate lists.

    Higher is better and every score is finite. A cold id, which neither base nor adapter knows, is
    scored by the mean vector of the domain's items or users, and counted.

    \b
    Example:
      lorarec score --domain books --pairs candidates.csv --out scored.csv
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.recommend import prepare, score_pairs
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        ready = prepare(domain, store, base, adapter, paths, listener)
        done = score_pairs(ready, pairs, out, settings, listener)
    result = {
        "out": str(done.path),
        "rows": done.rows,
        "cold_users": done.cold_users,
        "cold_items": done.cold_items,
    }
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"Wrote {done.rows:,} scores to {done.path} ({done.cold_users:,} rows with a cold "
            f"user, {done.cold_items:,} with a cold item)."
        )
