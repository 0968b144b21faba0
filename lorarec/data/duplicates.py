"""Rows that repeat a (user, item, domain): kept, resolved to one row, or refused.

Repeats are resolved after the split and within each part: what trains is then a function of the
train rows alone. To let a later row of valid or test take its earlier one out of train would tell
train about the future, and would let an item that the user has had count as a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from lorarec.data.contract import CheckReport, ContractError, Violation

Array = np.ndarray[Any, Any]
Duplicates = Literal["keep", "last", "sum", "refuse"]
"""`keep` every row; keep the `last` by time; that one with the `sum` of the weights; `refuse`."""
PAIR = ("user_id", "item_id", "domain")
NUMBERS = ("user", "item", "domain")
"""A `PAIR` in a prepared data set."""
_SHOWN = 5


def resolved(
    frame: pl.DataFrame, how: Duplicates, pair: Sequence[str] = PAIR
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows with at most one of each pair in a part, as `last` and `sum` want it.

    The row with the latest `timestamp` stays, of rows in the same second the later one in the
    table; a row without a timestamp is older than any. `sum` adds the weights up in float64, in
    that order.

    Args:
        frame: Rows with `timestamp`, `weight`, a `split` that is never null, and the pair.
        how: What happens to repeats; `keep` and `refuse` give the rows back as they are.
        pair: Columns that are the same in a repeat.

    Returns:
        The rows that stay, in their order, and how many are left out, by part.
    """
    if how in ("keep", "refuse"):
        return frame, {}
    key = [*pair, "split"]
    repeated = frame.select(key).is_duplicated()
    if not repeated.any():
        return frame, {}
    place = pl.Series("_place", np.flatnonzero(repeated.to_numpy()))
    time = pl.col("timestamp").fill_null(-1)
    several = frame.select(*key, time, "weight").filter(repeated).with_columns(place)
    several = several.sort([*key, "timestamp", "_place"])
    begins = several.select(pl.any_horizontal(pl.col(c) != pl.col(c).shift(1) for c in key))
    starts = np.flatnonzero(begins.to_series().fill_null(True).to_numpy())
    kept = several["_place"].to_numpy()[np.append(starts[1:], several.height) - 1]
    stays = ~repeated.to_numpy()
    stays[kept] = True
    if how == "sum":
        frame = frame.with_columns(weight=_summed(frame["weight"], several["weight"], starts, kept))
    left_out = frame.filter(~stays)["split"].value_counts()
    return frame.filter(stays), dict(sorted(left_out.iter_rows()))


def _summed(weights: pl.Series, several: pl.Series, starts: Array, kept: Array) -> pl.Series:
    values = weights.to_numpy().copy()
    values[kept] = np.add.reduceat(several.to_numpy().astype(np.float64), starts)
    return pl.Series("weight", values, dtype=weights.dtype)


def count_repeats(
    frame: pl.DataFrame, pair: Sequence[str] = PAIR, shown: int = _SHOWN
) -> tuple[int, pl.DataFrame]:
    """How often pairs repeat, whatever their parts.

    Args:
        frame: Rows with the pair.
        pair: Columns that are the same in a repeat.
        shown: How many repeated pairs are wanted.

    Returns:
        Rows beyond the first of their pair; and the first repeated pairs with their `rows`.
    """
    key = list(pair)
    several = frame.select(key).filter(frame.select(key).is_duplicated())
    counted = several.group_by(key, maintain_order=True).agg(rows=pl.len())
    return several.height - counted.height, counted.head(shown)


def check_repeats(frame: pl.DataFrame) -> None:
    """Refuse logs that repeat a pair.

    Args:
        frame: Canonical logs.

    Raises:
        ContractError: Some rows do; their count and the first five pairs are told.
    """
    count, first = count_repeats(frame)
    if count:
        raise refusal(frame.height, count, first)


def refusal(rows: int, count: int, first: pl.DataFrame) -> ContractError:
    """The error that refuses repeats.

    Args:
        rows: Rows that were looked at.
        count: Rows beyond the first of their pair.
        first: The first repeated pairs: `PAIR` and `rows`.
    """
    named = ", ".join(f"{tuple(pair)} in {n:,} rows" for *pair, n in first.iter_rows())
    violation = Violation(
        rule="repeated (user, item, domain)",
        count=count,
        found=f"The first are {named}.",
        expected="each once, as [data] duplicates is refuse; last or sum would resolve them",
        sample=first.to_dicts(),
    )
    return ContractError(CheckReport(rows=rows, violations=(violation,), repeated_pairs=count))


def sentence(how: Duplicates, left_out: dict[str, int]) -> str:
    """What was left out, by part, for the screen."""
    total = sum(left_out.values())
    parts = ", ".join(f"{rows:,} in {part}" for part, rows in left_out.items()) or "none"
    return (
        f"{total:,} rows repeat a (user, item, domain) of their part and are left out ({parts}): "
        f"[data] duplicates is {how}."
    )
