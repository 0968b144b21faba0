"""Lists for many users, streamed to parquet: only one batch of them is held at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from lorarec.errors import DataError, StoreError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommender import Ranked, Recommender
from lorarec.storage import atomic_path
from lorarec.training.loop import Progress

POPULAR = "popular"
"""`fallback` of a user without a vector: the domain's popular items."""
UNKNOWN_USER = "unknown user"
"""`reason` of a fallback: neither base nor adapter has a vector of the user."""
FEWER_LEFT = "fewer than k left"
"""`reason` of a list that ends before k: no more items are unseen and allowed."""
SCHEMA = {
    "user_id": pl.String,
    "rank": pl.Int32,
    "item_id": pl.String,
    "score": pl.Float32,
    "fallback": pl.String,
    "reason": pl.String,
}
BATCH = 4096
"""Users ranked together."""


@dataclass(frozen=True)
class Written:
    """What `recommend_users` wrote."""

    path: Path
    users: int
    rows: int
    popular_users: int
    """Users that got popular items."""
    short_users: int
    """Users with fewer than k items."""


def recommend_users(
    recommender: Recommender,
    users: pl.Series,
    k: int,
    out: Path,
    listen: Listener = SILENT,
    batch: int = BATCH,
) -> Written:
    """Rank for every user and write a row for each item, user by user, whole or not at all.

    A user for whom nothing is left has one row without an item, so that no user is missing.

    Args:
        recommender: Of the domain.
        users: Distinct ids.
        k: At least 1.
        out: A `.parquet` file.
        listen: Takes progress in users, and how many fell back or came short.
        batch: Users at once.

    Raises:
        DataError: `out` is no parquet, or there are no users.
        StoreError: The disk refused.
    """
    from polars.io.plugins import register_io_source

    if out.suffix.lower() != ".parquet":
        raise DataError(
            f"{out} is no parquet file. Expected a name that ends with .parquet, as that can be "
            f"written in parts."
        )
    if not len(users):
        raise DataError("There are no users to recommend to. Expected at least one id.")
    counts = {"rows": 0, "popular": 0, "short": 0}

    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        for start in range(0, len(users), batch):
            began = time.perf_counter()
            some = users[start : start + batch]
            ranked = recommender.rank(some, k)
            frame = as_frame(recommender, some, ranked, k)
            counts["rows"] += frame["item_id"].count()
            counts["popular"] += int(ranked.cold.sum())
            counts["short"] += int((ranked.positions[:, -1] < 0).sum())
            speed = len(some) / max(time.perf_counter() - began, 1e-9)
            listen.step(Progress(0, len(some), math.nan, speed))
            yield frame

    listen.begin(f"recommend {recommender.arena.domain}", len(users))
    try:
        with atomic_path(out) as temporary:
            stream = register_io_source(frames, schema=SCHEMA)
            stream.sink_parquet(temporary, compression="zstd", maintain_order=True)
    except pl.exceptions.PolarsError as error:  # how it tells of a full disk
        raise StoreError(
            f"Could not write {out}: {str(error).splitlines()[0]}. Expected a folder with room to "
            f"spare. Nothing was left half-written; free some space, then run the command again."
        ) from error
    if counts["popular"]:
        listen.say(
            f"{counts['popular']:,} of {len(users):,} users have no vector and got the popular "
            f"items of {recommender.arena.domain}."
        )
    if counts["short"]:
        listen.say(f"{counts['short']:,} of {len(users):,} users have fewer than {k} items left.")
    return Written(out, len(users), counts["rows"], counts["popular"], counts["short"])


def as_frame(recommender: Recommender, users: pl.Series, ranked: Ranked, k: int) -> pl.DataFrame:
    """Lists as rows of `SCHEMA`: users in their order, best item first."""
    there = ranked.positions >= 0
    empty = ~there.any(axis=1)
    place = there.copy()
    place[empty, 0] = True  # the row that says that nothing is left
    user, column = np.nonzero(place)
    positions = ranked.positions[user, column]
    found = pl.Series(positions >= 0)
    items = recommender.arena.catalogue.take(np.maximum(positions, 0))
    cold, short = pl.Series(ranked.cold[user]), pl.Series((~there[:, -1])[user])
    return pl.DataFrame(
        {
            "user_id": users.gather(pl.Series(user)),
            "rank": pl.Series(column + 1, dtype=pl.Int32),
            "item_id": items,
            "score": pl.Series(ranked.scores[user, column], dtype=pl.Float32),
            "found": found,
            "cold": cold,
            "short": short,
        }
    ).select(
        pl.col("user_id").cast(pl.String),
        *(pl.when("found").then(pl.col(name)).alias(name) for name in ("rank", "item_id", "score")),
        pl.when("cold").then(pl.lit(POPULAR)).alias("fallback"),
        pl.when("cold").then(pl.lit(UNKNOWN_USER)).when("short").then(pl.lit(FEWER_LEFT))
        .alias("reason"),
    )  # fmt: skip
