"""Logs of any length for timing: Amazon-like ids, many domains, a power law of users and items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]
FILE_ROWS = 5_000_000
DOMAINS = 50
_LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", dtype=np.uint8)
_START, _SPAN = 1_600_000_000, 100_000_000


def write_made_logs(folder: Path, rows: int, first_row: int = 0, seed: int = 0) -> Path:
    """Write parquet files of `FILE_ROWS` rows each, in order of time.

    A tenth as many users as rows, a hundredth as many items, fewer seen; ids of 14 and 10
    characters; column `rating` from 1 to 5. The same arguments give the same files.

    Args:
        folder: Made if absent.
        rows: In all.
        first_row: Rows that came before: shifts the time and draws others, of the same ids and
            1 % new ones.
        seed: Of the draws.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = max(rows, first_row)
    users, items = base // 10, base // 100
    new = users // 100 if first_row else 0
    user_ids = _ids(ord("A"), users + new, 14)
    item_ids = _ids(ord("B"), items, 10)
    domains = pl.Series([f"domain-{place:02d}" for place in range(DOMAINS)])
    seconds = _SPAN * rows // base
    begin = _START + (_SPAN if first_row else 0)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        rng = np.random.default_rng([seed, first_row, number])
        count = min(FILE_ROWS, rows - start)
        user = (users * rng.random(count) ** 1.5).astype(np.int64) + new
        item = (items * rng.random(count) ** 3).astype(np.int64)
        span = max(seconds * count // rows, 1)
        time = np.sort(rng.integers(0, span, count)) + begin + seconds * start // rows
        pl.DataFrame(
            {
                "user_id": user_ids.gather(user),
                "item_id": item_ids.gather(item),
                "domain": domains.gather(user % DOMAINS),
                "timestamp": time,
                "rating": rng.integers(1, 6, count).astype(np.float32),
            }
        ).write_parquet(folder / f"part-{number:03d}.parquet")
    return folder


def _ids(letter: int, count: int, length: int) -> pl.Series:
    """Distinct ids of one letter and then what looks drawn: String (count,)."""
    # An odd factor permutes 32-bit numbers, so the first seven characters are distinct.
    number = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)
    mixed = number * np.uint64(11400714819323198485)
    characters = np.empty((count, length), dtype=np.uint8)
    characters[:, 0] = letter
    for place in range(1, length):
        source, shift = (number, 5 * (place - 1)) if place < 8 else (mixed, 5 * (place - 8) + 3)
        characters[:, place] = _LETTERS[((source >> np.uint64(shift)) & np.uint64(31)).astype(int)]
    return pl.Series(characters.view(f"S{length}").ravel().astype(str).tolist(), dtype=pl.String)
