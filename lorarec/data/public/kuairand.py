"""KuaiRand: logs of a video app as CSV; of its many signals only clicks become interactions.

The rule: a row of the standard logs counts when `is_click` is 1 and `is_hate` is 0. In scenes of
one column the source sets `is_click` when a video was watched for 7 seconds or to its end. The logs
of random exposure (`log_random_*`) are left out: their items were drawn, not recommended. The
domain is the tab, the scene of the app in which the video was shown: `tab_0` to `tab_14`.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lorarec.data.public.layout import Converted, Files, Found, Layout, collect, read_text, reading
from lorarec.data.public.record import Chosen

_COLUMNS = ("user_id", "video_id", "time_ms", "is_click", "is_hate", "tab")


def _convert(files: Files, chosen: Chosen) -> Converted:
    tables, rows = [], 0
    for found in files["logs"]:
        text = read_text(found, _COLUMNS, ",", True)
        rows += int(collect(found, text.select(pl.len())).item())
        tables.append(collect(found, _clicks(text)))
    interactions = pl.concat(tables)
    note = (
        f"{interactions.height:,} of {rows:,} rows are kept: clicks (is_click 1) that the user did "
        f"not hate (is_hate 0). Logs of random exposure are not read."
    )
    users = _features(files["users"], "user_id", "user_id", interactions)
    items = _features(files["items"], "video_id", "item_id", interactions)
    return Converted(interactions, users, items, notes=(note,))


def _clicks(text: pl.LazyFrame) -> pl.LazyFrame:
    return text.filter((pl.col("is_click") == "1") & (pl.col("is_hate") != "1")).select(
        "user_id",
        item_id="video_id",
        domain=pl.lit("tab_") + pl.col("tab"),
        timestamp=pl.col("time_ms").cast(pl.Int64) // 1000,
    )


def _features(
    files: Sequence[Found], own: str, name: str, interactions: pl.DataFrame
) -> pl.DataFrame | None:
    """The features of those who occur, with the id in front."""
    if not files:
        return None
    found = files[0]
    with reading(found):
        table = pl.scan_csv(
            found.path, infer_schema_length=10_000, schema_overrides={own: pl.String}
        )
        names = table.collect_schema().names()
        there = interactions.lazy().select(name).unique()
        return (
            table.rename({own: name})
            .select(name, pl.exclude(name))
            .join(there, on=name, how="semi")
            .sort(name)
            .collect()
            if own in names
            else None
        )


LAYOUTS = {
    "kuairand": Layout(
        roles={
            "logs": r"log_standard_(?P<span>\d_\d\d_to_\d_\d\d)_(?:pure|1k)\.csv",
            "users": r"user_features_(?:pure|1k)\.csv",
            "items": r"video_features_basic_(?:pure|1k)\.csv",
        },
        needed=("logs",),
        expected="log_standard_4_08_to_4_21_pure.csv and the other standard log, or "
        "KuaiRand-Pure.tar.gz (or 1K)",
        convert=_convert,
    )
}
