"""Amazon Reviews 2023: ratings as CSV, or whole reviews as JSON lines, one file a category.

The domain is the category, the item the `parent_asin`; times in milliseconds become seconds. Of the
JSON lines only user, item, rating and time are read.
"""

from __future__ import annotations

import polars as pl

from lorarec.data.public.layout import Converted, Files, Found, Layout, collect, read_text
from lorarec.data.public.record import Chosen
from lorarec.errors import DataError

_COLUMNS = ("user_id", "parent_asin", "rating", "timestamp")


def _convert(files: Files, chosen: Chosen) -> Converted:
    both = {f.words["category"] for f in files["ratings"]} & {
        f.words["category"] for f in files["reviews"]
    }
    if both:
        raise DataError(
            f"{min(both)} is there as CSV and as JSON lines, which are the same ratings. Expected "
            f"one of them; give the path of the folder or file that is meant."
        )
    tables = [_ratings(found) for found in files["ratings"]]
    tables += [_reviews(found) for found in files["reviews"]]
    return Converted(pl.concat(tables))


def _ratings(found: Found) -> pl.DataFrame:
    return _category(found, read_text(found, _COLUMNS, ",", True, '"'))


def _reviews(found: Found) -> pl.DataFrame:
    kinds = (pl.String(), pl.String(), pl.Float32(), pl.Int64())
    schema = dict(zip(_COLUMNS, kinds, strict=True))
    return _category(found, pl.scan_ndjson(found.path, schema=schema))


def _category(found: Found, frame: pl.LazyFrame) -> pl.DataFrame:
    return collect(
        found,
        frame.select(
            "user_id",
            item_id="parent_asin",
            domain=pl.lit(found.words["category"]),
            rating=pl.col("rating").cast(pl.Float32),
            timestamp=pl.col("timestamp").cast(pl.Int64) // 1000,
        ),
    )


LAYOUTS = {
    "amazon-2023": Layout(
        roles={
            "ratings": r"(?P<category>[A-Z]\w+)\.csv",
            "reviews": r"(?P<category>[A-Z]\w+)\.jsonl",
        },
        needed=("ratings", "reviews"),
        expected="Video_Games.csv.gz (ratings) or Video_Games.jsonl.gz (reviews), and the like",
        convert=_convert,
    )
}
