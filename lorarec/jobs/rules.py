"""Business rules of a recommendation: what may be in it, and how much of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.tables import read_table
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError, DataError, did_you_mean
from lorarec.jobs.id_files import read_id_file, refuse_unknown
from lorarec.jobs.listener import Listener

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rules:
    """As asked for; without any, the whole catalogue may be recommended."""

    allow: Path | None = None
    """A file of the only items that may be."""
    block: Path | None = None
    """A file of items that may not."""
    items: Path | None = None
    """A table with `item_id` and the columns that the rules below name."""
    max_per: tuple[str, int] | None = None
    """A column, and how many items of one value a list may have."""
    min_stock: tuple[str, float] | None = None
    """A column of numbers, or of true and false, and the least that an item needs."""


@dataclass(frozen=True, eq=False)
class Resolved:
    """Rules over one catalogue."""

    allowed: Array | None = None
    """int64, ascending positions; None where all may be recommended."""
    categories: Array | None = None
    """int64 (c,): -1 for an item without one, which is not capped."""
    most: int = 1


def resolve(
    rules: Rules, catalogue: Vocabulary, known: Vocabulary, domain: str, listen: Listener
) -> Resolved:
    """Read the files of the rules and find their items in the catalogue.

    Args:
        rules: As asked for.
        catalogue: What the domain may recommend.
        known: All items that base or adapter knows: such an id is no mistake, only not for sale
            here.
        domain: Its name, for messages.
        listen: Takes how many ids were passed over, and what is left.

    Raises:
        ConfigError: A rule needs the items table, or has a bound that is none.
        DataError: A file cannot be read, a column is not there or no number, or nothing is left.
        NotFoundError: An id in a list is unknown.
    """
    if (rules.max_per or rules.min_stock) and rules.items is None:
        raise ConfigError(
            "--max-per and --min-stock name a column of a table of items. Expected it with "
            "--items FILE, a table with the column item_id."
        )
    may = np.ones(len(catalogue), dtype=np.bool_)
    everyone = known.extend(catalogue.series)
    for path, keeps in ((rules.allow, True), (rules.block, False)):
        if path is not None:
            listed = _listed(path, catalogue, everyone, domain, listen)
            may &= listed if keeps else ~listed
    table = None if rules.items is None else _table(rules.items, catalogue)
    if rules.min_stock is not None and table is not None and rules.items is not None:
        may &= _in_stock(table, rules.items, *rules.min_stock)
    if not may.any():
        raise DataError(
            f"No item of {domain} is left: of {len(catalogue):,} in the catalogue the rules take "
            f"out all. Expected some; look at --allow, --block and --min-stock."
        )
    allowed = None if may.all() else np.flatnonzero(may)
    if allowed is not None:
        listen.say(f"Rules: {len(allowed):,} of {len(catalogue):,} items may be recommended.")
    if rules.max_per is None or table is None or rules.items is None:
        return Resolved(allowed)
    column, most = rules.max_per
    if most < 1:
        raise ConfigError(f"--max-per {column}:{most} allows nothing. Expected 1 or more.")
    return Resolved(allowed, _categories(table, rules.items, column), most)


def _listed(
    path: Path, catalogue: Vocabulary, everyone: Vocabulary, domain: str, listen: Listener
) -> Array:
    ids = read_id_file(path, "item_id")
    refuse_unknown(path, ids, everyone, f"the base and the catalogue of {domain}")
    rows = catalogue.rows(ids, missing="mark")
    if outside := int((rows < 0).sum()):
        listen.say(
            f"{path}: {outside:,} of {len(ids):,} items are known and not in the catalogue of "
            f"{domain}."
        )
    listed = np.zeros(len(catalogue), dtype=np.bool_)
    listed[rows[rows >= 0]] = True
    return listed


def _table(path: Path, catalogue: Vocabulary) -> pl.DataFrame:
    """A row for each item of the catalogue; nulls where the table has none."""
    table = read_table(path)
    if "item_id" not in table.columns:
        raise DataError(
            f"{path} lacks the column 'item_id'; it has {', '.join(table.columns)}. Expected a "
            f"row for each item."
        )
    table = table.with_columns(pl.col("item_id").cast(pl.String))
    repeated = table["item_id"].filter(table["item_id"].is_duplicated()).unique().sort()
    if len(repeated):
        raise DataError(
            f"{path} has {len(repeated):,} items twice: {repeated.head(5).to_list()}. Expected "
            f"one row an item."
        )
    ids = catalogue.series.alias("item_id").to_frame()
    return ids.join(table, on="item_id", how="left", maintain_order="left")


def _column(table: pl.DataFrame, path: Path, column: str) -> pl.Series:
    if column not in table.columns:
        names = [name for name in table.columns if name != "item_id"]
        raise DataError(f"{path} lacks the column {column!r}.{did_you_mean(column, names)}")
    return table[column]


def _in_stock(table: pl.DataFrame, path: Path, column: str, least: float) -> Array:
    values = _column(table, path, column)
    if values.dtype == pl.String:
        flags = {"true": "1", "false": "0"}
        values = values.str.to_lowercase().replace(flags)
    try:
        numbers = values.cast(pl.Float64)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: the column {column!r} holds what is no number: "
            f"{str(error).splitlines()[0]}. Expected numbers, or true and false."
        ) from error
    # An item that the table does not have, or has without a number, is not known to be in stock.
    found: Array = (numbers >= least).fill_null(False).to_numpy()
    return found


def _categories(table: pl.DataFrame, path: Path, column: str) -> Array:
    values = _column(table, path, column).cast(pl.String)
    codes = values.rank("dense").cast(pl.Int64) - 1
    found: Array = codes.fill_null(-1).to_numpy()
    return found
