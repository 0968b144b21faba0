"""XMarket: `user item rating date` with spaces between, one file a market and category.

The authors' 5-core files (`de_5core.txt`) have a header, their complete ones
(`ratings_de_Electronics.txt.gz`) have none. The domain is the market; the time is the day of the
review at 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lorarec.data.public.layout import Converted, Files, Found, Layout, collect, read_text, reading
from lorarec.data.public.record import Chosen
from lorarec.errors import DataError

_HEADER = ("userId", "itemId", "rate", "date")
_COLUMNS = ("user_id", "item_id", "rating", "date")


def _convert(files: Files, chosen: Chosen) -> Converted:
    _check_one_kind(files["ratings"])
    tables = [table for found in files["ratings"] if (table := _market(found)) is not None]
    left_out = len(files["ratings"]) - len(tables)
    note = f"{left_out} of {len(files['ratings'])} files hold no ratings."
    return Converted(pl.concat(tables) if tables else _empty(), notes=(note,) if left_out else ())


def _check_one_kind(ratings: Sequence[Found]) -> None:
    """A market's 5-core is a part of its complete file: together they would count rows twice."""
    cores = {found.words["market"] for found in ratings if not found.words["category"]}
    for found in ratings:
        if found.words["category"] and found.words["market"] in cores:
            market = found.words["market"]
            raise DataError(
                f"Both {found.name} and a 5-core file are there for the market {market!r}. "
                f"Expected one kind; give the path of the folder or file that is meant."
            )


def _market(found: Found) -> pl.DataFrame | None:
    """One market's ratings; None for the empty file that some categories have."""
    with reading(found), found.path.open(encoding="utf-8") as file:
        first = file.readline().split()
    if not first:
        return None
    if tuple(first) == _HEADER:
        names = dict(zip(_HEADER, _COLUMNS, strict=True))
        text = read_text(found, _HEADER, " ", True).rename(names)
    else:
        text = read_text(found, _COLUMNS, " ", False)
    day = pl.col("date").str.to_date("%Y-%m-%d")
    return collect(
        found,
        text.select(
            "user_id",
            "item_id",
            pl.col("rating").cast(pl.Float32),
            timestamp=day.cast(pl.Datetime("us")).dt.epoch("s"),
            domain=pl.lit(found.words["market"]),
        ),
    )


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(("user_id", "item_id", "domain"), pl.String))


LAYOUTS = {
    "xmarket": Layout(
        roles={
            "ratings": r"(?:ratings_)?(?P<market>[a-z]{2})_(?:(?P<category>[A-Z]\w+)|\d+core)\.txt"
        },
        needed=("ratings",),
        expected="de_5core.txt or ratings_de_Electronics.txt.gz, and the like for other markets",
        convert=_convert,
    )
}
