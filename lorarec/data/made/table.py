"""The drawn rows as canonical logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.schema import SCHEMA

Array = np.ndarray[Any, Any]

DAY_SECONDS = 86_400


def ids(prefix: str, count: int) -> pl.Series:
    """The ids of `count` users or items: `u00000`, `u00001` and so on, wider where need be."""
    digits = max(5, len(str(count - 1)))
    return prefix + pl.Series(np.arange(count)).cast(pl.String).str.zfill(digits)


def logs_of(
    user: Array,
    item: Array,
    domain: Array,
    seconds: Array,
    names: Sequence[str],
    sizes: tuple[int, int],
) -> pl.DataFrame:
    """Canonical logs by time; rows of the same second stay in the order given.

    Args:
        user: int (n,).
        item: int (n,).
        domain: int (n,).
        seconds: int64 (n,), since 1970.
        names: Of the domains.
        sizes: Users and items in all.
    """
    order = np.argsort(seconds, kind="stable")
    columns = {
        "user_id": (ids("u", sizes[0]), user),
        "item_id": (ids("i", sizes[1]), item),
        "domain": (pl.Series(list(names), dtype=pl.String), domain),
    }
    frame = pl.DataFrame(
        {name: values.gather(pl.Series(rows[order])) for name, (values, rows) in columns.items()}
        | {"timestamp": seconds[order]}
    )
    missing = [pl.lit(None, dtype=SCHEMA[name]).alias(name) for name in ("rating", "split")]
    return frame.with_columns(pl.lit(1.0, dtype=pl.Float32).alias("weight"), *missing).select(
        list(SCHEMA)
    )
