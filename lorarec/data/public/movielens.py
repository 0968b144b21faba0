"""MovieLens in its three formats: tabs (100K), double colons (1M) and CSV (25M).

The domain of 100K and 1M is the first digit of the user's ZIP code, `zip_other` where that is a
letter, or one domain `movies` on request. Nothing is known of the users of 25M: one domain.
"""

from __future__ import annotations

import polars as pl

from lorarec.data.public.layout import (
    Converted,
    Files,
    Found,
    Layout,
    collect,
    read_text,
    reading,
)
from lorarec.data.public.record import Chosen
from lorarec.errors import DataError

_ONE_DOMAIN = "movies"
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
_ITEM_FIELDS = 5
"""Of u.item, before the genres: id, title, two dates, an address."""
_YEAR = r"\((\d{4})\)\s*$"
_NONE_LISTED = "(no genres listed)"


def _convert_100k(files: Files, chosen: Chosen) -> Converted:
    columns = ("user_id", "item_id", "rating", "timestamp")
    ratings = _ratings(files["ratings"][0], read_text(files["ratings"][0], columns, "\t", False))
    users = items = None
    if files["users"]:
        fields = ("user_id", "age", "gender", "occupation", "zip_code")
        users = _users(_split_lines(files["users"][0], "|", fields))
    if files["items"]:
        items = _items_100k(files["items"][0])
    return _in_domains(ratings, users, items, chosen)


def _convert_1m(files: Files, chosen: Chosen) -> Converted:
    # Polars separates by one character: of `1::1193::5::978300760` every second field is empty.
    names = ("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp")
    ratings = _ratings(files["ratings"][0], read_text(files["ratings"][0], names, ":", False))
    users = items = None
    if files["users"]:
        fields = ("user_id", "gender", "age", "occupation", "zip_code")
        users = _users(_split_lines(files["users"][0], "::", fields))
    if files["items"]:
        items = _items(_split_lines(files["items"][0], "::", ("item_id", "title", "genres")))
    return _in_domains(ratings, users, items, chosen)


def _convert_25m(files: Files, chosen: Chosen) -> Converted:
    names = {
        "userId": "user_id",
        "movieId": "item_id",
        "rating": "rating",
        "timestamp": "timestamp",
    }
    found = files["ratings"][0]
    ratings = _ratings(found, read_text(found, tuple(names), ",", True, '"').rename(names))
    items = None
    if files["items"]:
        names = {"movieId": "item_id", "title": "title", "genres": "genres"}
        table = read_text(files["items"][0], tuple(names), ",", True, '"').rename(names)
        items = _items(collect(files["items"][0], table))
    return _in_domains(ratings, None, items, {"domain_by": ("none",)})


def _ratings(found: Found, text: pl.LazyFrame) -> pl.DataFrame:
    return collect(
        found,
        text.select(
            "user_id",
            "item_id",
            pl.col("rating").cast(pl.Float32),
            pl.col("timestamp").cast(pl.Int64),
        ),
    )


def _in_domains(
    ratings: pl.DataFrame, users: pl.DataFrame | None, items: pl.DataFrame | None, chosen: Chosen
) -> Converted:
    if chosen["domain_by"] == ("none",):
        note = f"All rows are of one domain, {_ONE_DOMAIN}."
        return Converted(
            ratings.with_columns(domain=pl.lit(_ONE_DOMAIN)), users, items, notes=(note,)
        )
    if users is None:
        raise DataError(
            "The users' file is missing, and with it their ZIP codes. Expected u.user or users.dat "
            "beside the ratings; or take one domain for all: --domain-by none."
        )
    digit = pl.col("zip_code").str.extract(r"^(\d)")
    zone = pl.when(digit.is_null()).then(pl.lit("zip_other")).otherwise(pl.lit("zip") + digit)
    zones = users.select("user_id", domain=zone)
    joined = ratings.join(zones, on="user_id", how="left", maintain_order="left")
    if unknown := joined["domain"].null_count():
        first = joined.filter(pl.col("domain").is_null())["user_id"][0]
        raise DataError(
            f"{unknown:,} ratings are of users that the users' file does not have, such as "
            f"{first!r}. Expected the files of one archive; get it again, or --domain-by none."
        )
    return Converted(joined, users, items)


def _users(text: pl.DataFrame) -> pl.DataFrame:
    return text.with_columns(pl.col("age").cast(pl.Int32, strict=False))


def _items(text: pl.DataFrame) -> pl.DataFrame:
    genres = pl.col("genres").str.split("|")
    listed = pl.when(pl.col("genres") == _NONE_LISTED).then(genres.list.head(0)).otherwise(genres)
    year = pl.col("title").str.extract(_YEAR).cast(pl.Int32)
    return text.select("item_id", "title", year=year, genres=listed)


def _items_100k(found: Found) -> pl.DataFrame:
    names = ("item_id", "title", "released", "video", "address", *_GENRES)
    table = _split_lines(found, "|", names)
    genres = [
        [genre for genre, flag in zip(_GENRES, flags, strict=True) if flag == "1"]
        for flags in table.select(names[_ITEM_FIELDS:]).iter_rows()
    ]
    year = pl.coalesce(
        pl.col("title").str.extract(_YEAR), pl.col("released").str.extract(r"(\d{4})$")
    )
    return table.select(
        "item_id",
        "title",
        year=year.cast(pl.Int32),
        genres=pl.Series(genres, dtype=pl.List(pl.String)),
    )


def _split_lines(found: Found, separator: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """A small table whose separator Polars does not take, or whose text is Latin-1."""
    with reading(found):
        lines = found.path.read_text(encoding="latin-1").splitlines()
    rows = [line.split(separator) for line in lines if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise DataError(
                f"{found.name} has {len(row)} fields in row {number}. Expected "
                f"{len(columns)} between {separator!r}, as in the original; get it again."
            )
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


LAYOUTS = {
    "movielens-100k": Layout(
        roles={"ratings": r"u\.data", "users": r"u\.user", "items": r"u\.item"},
        needed=("ratings",),
        expected="u.data, u.user and u.item, or ml-100k.zip",
        convert=_convert_100k,
    ),
    "movielens-1m": Layout(
        roles={"ratings": r"ratings\.dat", "users": r"users\.dat", "items": r"movies\.dat"},
        needed=("ratings",),
        expected="ratings.dat, users.dat and movies.dat, or ml-1m.zip",
        convert=_convert_1m,
    ),
    "movielens-25m": Layout(
        roles={"ratings": r"ratings\.csv", "items": r"movies\.csv"},
        needed=("ratings",),
        expected="ratings.csv and movies.csv, or ml-25m.zip",
        convert=_convert_25m,
    ),
}
