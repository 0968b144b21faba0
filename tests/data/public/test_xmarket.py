from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.public.get import import_data
from lorarec.errors import DataError, NotFoundError

Imported = Callable[..., pl.DataFrame]
Write = Callable[..., Path]
CORE = "userId itemId rate date\nAE7 B00V 5.0 2016-06-13\nAGJ 0071 1.0 1970-01-02\n"


def test_the_5core_has_a_header(write: Write, imported: Imported) -> None:
    logs = imported("xmarket-5core", write("de_5core.txt", CORE))
    assert logs.select("user_id", "item_id", "domain", "rating", "timestamp").rows() == [
        ("AE7", "B00V", "de", 5.0, 1465776000),
        ("AGJ", "0071", "de", 1.0, 86400),
    ]


def test_the_complete_file_has_none_and_is_packed(write: Write, imported: Imported) -> None:
    packed = gzip.compress(b"AE7 B00V 5.0 2016-06-13\n")
    logs = imported("xmarket", write("ratings_jp_Electronics.txt.gz", packed))
    assert logs.select("user_id", "domain").rows() == [("AE7", "jp")]


def test_each_market_is_a_domain(write: Write, imported: Imported) -> None:
    write("fr_5core.txt", CORE)
    logs = imported("xmarket-5core", write("de_5core.txt", CORE))
    assert logs["domain"].to_list() == ["de", "de", "fr", "fr"]


def test_markets_and_categories_select(write: Write, imported: Imported) -> None:
    for market in ("de", "fr"):
        for category in ("Books", "Electronics"):
            write(f"ratings_{market}_{category}.txt", f"u{market} {category} 5.0 2016-06-13\n")
    logs = imported("xmarket", write("x", ""), market=["de"], category=["Books"])
    assert logs.select("user_id", "item_id").rows() == [("ude", "Books")]


def test_a_market_that_is_not_there_is_told(write: Write, imported: Imported) -> None:
    with pytest.raises(NotFoundError, match="no file of the market 'jp': found de"):
        imported("xmarket-5core", write("de_5core.txt", CORE), market=["de", "jp"])


def test_a_category_without_ratings_is_counted(write: Write, tmp_path: Path) -> None:
    write("ratings_jp_Kindle_Store.txt.gz", gzip.compress(b""))
    folder = write("ratings_jp_Books.txt", "u i 5.0 2016-06-13\n")
    made = import_data("xmarket", folder, tmp_path / "out")
    assert made.rows == 1
    assert made.notes == ("1 of 2 files hold no ratings.",)


def test_ratings_are_not_counted_twice(write: Write, imported: Imported) -> None:
    write("de_5core.txt", CORE)
    with pytest.raises(DataError, match="Expected one kind"):
        imported("xmarket", write("ratings_de_Electronics.txt", "u i 5.0 2016-06-13\n"))


def test_a_date_of_another_form_is_told(write: Write, imported: Imported) -> None:
    with pytest.raises(DataError, match=r"de_5core\.txt could not be read"):
        imported("xmarket-5core", write("de_5core.txt", "u i 5.0 13.06.2016\n"))
