"""`lorarec recommend`: the best items of a domain for one user, or for many in a file."""

from __future__ import annotations

import math
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
    from lorarec.jobs.recommend import Ready
    from lorarec.jobs.recommender import Recommender

FILE = click.Path(path_type=Path)


def _bounded(value: str | None, default: str | None) -> tuple[str, float] | None:
    """`COLUMN:number`, or `COLUMN` where there is a default."""
    if value is None:
        return None
    column, colon, number = value.rpartition(":")
    if not colon and default is not None:
        column, number = value, default
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not column or not math.isfinite(bound):
        raise click.BadParameter(f"{value!r} is no COLUMN:NUMBER. Expected such as brand:2.")
    return column, bound


@click.command(context_settings=CONTEXT)
@domain_option
@click.option("--user", metavar="U", help="One user's id; the list is printed.")
@click.option("--users", type=FILE, metavar="FILE", help="Many: a table with user_id, or .txt.")
@click.option("--all-users", is_flag=True, help="All users with a train row in the domain.")
@click.option("--out", type=FILE, metavar="FILE", help="Parquet, for --users and --all-users.")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, metavar="K")
@click.option(
    "--index", type=FILE, metavar="DIR", help="Of lorarec index.  [default: exact search]"
)
@click.option("--allow", type=FILE, metavar="FILE", help="The only items: a line each, or item_id.")
@click.option("--block", type=FILE, metavar="FILE", help="Items to leave out, the same.")
@click.option(
    "--items", type=FILE, metavar="FILE", help="A table of item_id and the columns below."
)
@click.option("--max-per", metavar="COLUMN:N", help="At most N items of one value in a list.")
@click.option("--min-stock", metavar="COLUMN[:N]", help="Items with N or more, or true.  [N: 1]")
@adapter_option
@base_option
@data_option
@json_option
@click.pass_obj
def recommend(
    settings: Settings,
    domain: str,
    user: str | None,
    users: Path | None,
    all_users: bool,
    out: Path | None,
    k: int,
    index: Path | None,
    allow: Path | None,
    block: Path | None,
    items: Path | None,
    max_per: str | None,
    min_stock: str | None,
    adapter: str | None,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Recommend the best items of the domain's catalogue, without those a user has had.

    A user that neither base nor adapter knows gets the domain's popular items, marked so. For many
    users a parquet file is written as they are ranked, with user_id, rank, item_id, score, fallback
    and reason; who has nothing left has one row without an item.

    \b
    Example:
      lorarec recommend --domain books --user u00007 --k 5
      lorarec recommend --domain books --all-users --out lists.parquet
      lorarec recommend --domain books --users who.txt --out lists.parquet \\
        --block gone.txt --items items.csv --max-per brand:2 --min-stock stock
    """
    if sum([user is not None, users is not None, all_users]) != 1:
        raise click.UsageError("Expected one of --user U, --users FILE and --all-users.")
    if (out is None) != (user is not None):
        raise click.UsageError(
            "Expected --out FILE with --users and --all-users, whose lists are written and not "
            "printed, and not with --user."
        )
    from lorarec.cli.listening import listening
    from lorarec.jobs.id_files import read_id_file
    from lorarec.jobs.index_domains import open_any
    from lorarec.jobs.recommend import prepare, recommender
    from lorarec.jobs.recommend_users import recommend_users
    from lorarec.jobs.rules import Rules
    from lorarec.tracking.store import open_store

    cap = _bounded(max_per, None)
    if cap is not None and not cap[1].is_integer():
        raise click.BadParameter(
            f"{max_per!r} asks for a part of an item. Expected a whole number."
        )
    rules = Rules(
        allow, block, items, None if cap is None else (cap[0], int(cap[1])),
        _bounded(min_stock, "1"),
    )  # fmt: skip
    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        ready = prepare(domain, store, base, adapter, paths, listener)
        stored = None if index is None else open_any(index, ready)
        by = recommender(ready, rules, stored, _device(settings), listener)
        if out is not None:
            wanted = ready.arena.members if users is None else read_id_file(users, "user_id")
            done = recommend_users(by, wanted, k, out, listener)
    if out is None:
        assert user is not None
        _one(ready, by, user, k, as_json)
        return
    found = {
        "out": str(done.path), "users": done.users, "rows": done.rows,
        "popular_users": done.popular_users, "short_users": done.short_users,
    }  # fmt: skip
    if as_json:
        print_json(found)
    else:
        click.echo(f"Wrote {done.rows:,} rows for {done.users:,} users to {done.path}.")


def _device(settings: Settings) -> str:
    """Where exact search runs: on a GPU only where the settings name one."""
    name = settings.train.device
    return name if name.startswith("cuda") else "cpu"


def _one(ready: Ready, by: Recommender, user: str, k: int, as_json: bool) -> None:
    from lorarec.jobs.recommend import as_dict
    from lorarec.jobs.recommend import recommend as job

    found = job(ready, user, k, by)
    if len(found.items) < k:
        say(
            f"The catalogue of {found.domain} has only {len(found.items):,} items left for this "
            f"user."
        )
    if as_json:
        print_json(as_dict(found))
        return
    rows = [
        (place + 1, item, score)
        for place, (item, score) in enumerate(zip(found.items, found.scores, strict=True))
    ]
    title = f"{user} in {found.domain}" + (
        f" (fallback: {found.fallback})" if found.fallback else ""
    )
    print_table(["rank", "item", "score"], rows, title=title)
