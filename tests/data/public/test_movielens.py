from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.public.get import import_data
from lorarec.errors import DataError

Imported = Callable[..., pl.DataFrame]
Write = Callable[..., Path]

GENRES_100K = "0|0|0|1|1|1" + "|0" * 13


@pytest.fixture
def small(write: Write) -> Path:
    """Three ratings in the format of 100K; the title is Latin-1 and holds a quotation mark."""
    write("u.data", "196\t242\t3\t881250949\n7\t242\t5\t881250950\n196\t51\t1\t881250951\n")
    write("u.user", "196|49|M|writer|55105\n7|57|F|other|V3N4P\n")
    items = (
        f"242|\"Kolya, l'été (1996)|24-Jan-1997||http://x|{GENRES_100K}\n"
        f"51|unknown|||http://y|1{'|0' * 18}\n"
    )
    return write("u.item", items.encode("latin-1"))


@pytest.fixture
def million(write: Write) -> Path:
    write("ratings.dat", "1::1193::5::978300760\n2::1::4::978300761\n")
    write("users.dat", "1::F::1::10::48067\n2::M::56::16::70072-1234\n")
    items = "1193::Star Trek: First Été (1996)::Action|Sci-Fi\n1::Toy Story (1995)::Animation\n"
    return write("movies.dat", items.encode("latin-1"))


@pytest.fixture
def large(write: Write) -> Path:
    write("ratings.csv", "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,7,3.5,9\n")
    return write(
        "movies.csv",
        'movieId,title,genres\n296,"Été, The (1994)",Comedy|Crime\n7,Untold,(no genres listed)\n',
    )


def test_100k_keeps_ids_ratings_times_and_order(small: Path, imported: Imported) -> None:
    logs = imported("movielens-100k", small)
    assert logs.select("user_id", "item_id", "rating", "timestamp").rows() == [
        ("196", "242", 3.0, 881250949),
        ("7", "242", 5.0, 881250950),
        ("196", "51", 1.0, 881250951),
    ]


def test_the_domain_is_the_first_digit_of_the_zip_code(small: Path, imported: Imported) -> None:
    assert imported("movielens-100k", small)["domain"].to_list() == ["zip5", "zip_other", "zip5"]


def test_or_one_domain_for_all(small: Path, imported: Imported) -> None:
    logs = imported("movielens-100k", small, domain_by=["none"])
    assert set(logs["domain"]) == {"movies"}


def test_100k_has_users_and_items(small: Path, tmp_path: Path) -> None:
    import_data("movielens-100k", small, tmp_path / "out")
    users = pl.read_parquet(tmp_path / "out" / "users.parquet")
    assert users.row(1) == ("7", 57, "F", "other", "V3N4P")
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.row(0)[:3] == ("242", "\"Kolya, l'été (1996)", 1996)
    assert items["genres"].to_list() == [["Animation", "Children's", "Comedy"], ["unknown"]]
    assert items["year"].to_list() == [1996, None]


def test_1m_reads_double_colons(million: Path, imported: Imported, tmp_path: Path) -> None:
    logs = imported("movielens-1m", million)
    assert logs.select("user_id", "item_id", "domain", "rating", "timestamp").rows() == [
        ("1", "1193", "zip4", 5.0, 978300760),
        ("2", "1", "zip7", 4.0, 978300761),
    ]
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.row(0) == ("1193", "Star Trek: First Été (1996)", 1996, ["Action", "Sci-Fi"])
    users = pl.read_parquet(tmp_path / "out" / "users.parquet")
    assert users.select("age", "occupation").row(1) == (56, "16")


def test_25m_is_one_domain_and_says_so(large: Path, tmp_path: Path) -> None:
    made = import_data("movielens-25m", large, tmp_path / "out")
    assert made.domains == {"movies": 2}
    assert "one domain, movies" in made.notes[0]
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.rows() == [
        ("296", "Été, The (1994)", 1994, ["Comedy", "Crime"]),
        ("7", "Untold", None, []),
    ]


def test_the_archive_does_as_well_as_the_folder(
    small: Path, imported: Imported, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as packed:
        for file in small.iterdir():
            packed.write(file, f"ml-100k/{file.name}")
    assert imported("movielens-100k", tmp_path / "ml-100k.zip").height == 3


def test_ratings_alone_do_for_one_domain(small: Path, imported: Imported) -> None:
    with pytest.raises(DataError, match=r"users' file is missing.*--domain-by none"):
        imported("movielens-100k", small / "u.data")
    assert imported("movielens-100k", small / "u.data", domain_by=["none"]).height == 3


def test_users_of_another_archive_are_told(small: Path, write: Write, imported: Imported) -> None:
    write("u.user", "196|49|M|writer|55105\n")
    with pytest.raises(DataError, match=r"1 ratings are of users .* such as '7'"):
        imported("movielens-100k", small)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("196\t242\tthree\t881250949\n", "could not be read"),
        ("196\t242\t3\n", "has 3 columns"),
        ("196\t242\t3\t88\n7\t242\n", "1 of 2 rows are without rating"),
        ("", "empty"),
        ("196\t242\t3\t881250949000\n", "timestamp in milliseconds"),
    ],
)
def test_ratings_that_are_damaged_are_told(
    small: Path, write: Write, imported: Imported, text: str, told: str
) -> None:
    write("u.data", text)
    with pytest.raises(DataError, match=told):
        imported("movielens-100k", small)


def test_a_damaged_side_table_is_told(small: Path, write: Write, imported: Imported) -> None:
    write("u.user", "196|49|M|writer|55105\n7|57|F\n")
    with pytest.raises(DataError, match=r"u\.user has 3 fields in row 2"):
        imported("movielens-100k", small)
