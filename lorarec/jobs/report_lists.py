"""A few users' lists, by the frozen base and by the adapter, with titles where there are some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from lorarec.data.tables import read_table
from lorarec.errors import DataError, did_you_mean
from lorarec.jobs.choose import Chosen
from lorarec.jobs.evaluate import parts_seen
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter
from lorarec.report.content import Listed

HAD = 5
"""Train items that are named."""


def read_titles(path: Path, column: str) -> dict[str, str]:
    """Title by item id; an item without one keeps its id.

    Args:
        path: A table with `item_id` and the titles, as `read_table` takes it.
        column: Where the titles are.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    table = read_table(path)
    for name in ("item_id", column):
        if name not in table.columns:
            raise DataError(
                f"{path} has no column {name!r}.{did_you_mean(name, table.columns)} Expected "
                f"item_id and the titles; name their column: --title-column NAME"
            )
    own = table.select(
        pl.col("item_id").cast(pl.String), pl.col(column).cast(pl.String).alias("title")
    ).drop_nulls()
    return dict(own.iter_rows())


def shown_users(
    per_user: Mapping[str, pl.DataFrame], key: str, count: int, seed: int
) -> list[tuple[str, str]]:
    """Which users to show, and why: who gains most, who loses most, and others by a seeded draw.

    Args:
        per_user: Tables of the arms `base` and `lora`, with `user_id` and the metric.
        key: Metric key.
        count: How many.
        seed: Of the draw.
    """
    gains = (
        per_user["base"]
        .select("user_id", base=key)
        .join(per_user["lora"].select("user_id", lora=key), on="user_id")
        .with_columns(gain=pl.col("lora") - pl.col("base"))
        .sort(["gain", "user_id"], descending=[True, False])
    )
    if not gains.height or count < 1:
        return []
    best, worst = gains.row(0, named=True), gains.row(-1, named=True)
    found: dict[str, str] = {}
    if best["gain"] > 0:
        found[best["user_id"]] = f"Gains most ({best['base']:.2f} to {best['lora']:.2f})"
    if worst["gain"] < 0 and count > 1:
        found[worst["user_id"]] = f"Loses most ({worst['base']:.2f} to {worst['lora']:.2f})"
    rest = gains.filter(~pl.col("user_id").is_in(list(found)))
    wanted = min(count - len(found), rest.height)
    if wanted > 0:
        drawn = np.sort(np.random.default_rng(seed).choice(rest.height, wanted, replace=False))
        for row in rest[drawn].iter_rows(named=True):
            found[row["user_id"]] = f"Drawn by lot ({row['base']:.2f} to {row['lora']:.2f})"
    return list(found.items())[:count]


def listed(
    arena: Arena,
    chosen: Chosen,
    adapter: Adapter,
    users: list[tuple[str, str]],
    part: str,
    k: int,
    titles: Mapping[str, str],
) -> list[Listed]:
    """The lists of users, as the evaluation ranked.

    Args:
        arena: The domain.
        chosen: The base.
        adapter: Of the domain on it.
        users: Ids, and why they are shown.
        part: What is held out.
        k: Items of a list: as many as what the users were chosen by looks at.
        titles: Title by item id; an item without one is shown by its id.
    """
    ids = pl.Series("user_id", [user for user, _ in users], dtype=pl.String)
    seen = arena.seen(ids, parts_seen(part))
    catalogue = arena.catalogue.series
    ranked = [
        arena.rank(arena.scorer(chosen.base, own), ids, k, seen)[0] for own in (None, adapter)
    ]

    def named(items: pl.Series) -> list[str]:
        return [titles.get(item, item) for item in items]

    found = []
    for place, (user, why) in enumerate(users):
        rows = arena.frame.filter(pl.col("user_id") == user)
        had = rows.filter(split="train")
        if "timestamp" in had.columns:
            had = had.sort("timestamp", descending=True, nulls_last=True, maintain_order=True)
        held_out = rows.filter(split=part)["item_id"].unique(maintain_order=True)
        taken = set(held_out)
        before, after = (
            [
                (titles.get(item, item), item in taken)
                for item in catalogue.gather(own[place][own[place] >= 0])
            ]
            for own in ranked
        )
        latest = named(had["item_id"].unique(maintain_order=True)[:HAD])
        found.append(Listed(arena.domain, user, why, latest, named(held_out), before, after))
    return found
