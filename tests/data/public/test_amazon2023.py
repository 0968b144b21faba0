from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.errors import DataError

Imported = Callable[..., pl.DataFrame]
Write = Callable[..., Path]
CSV = "user_id,parent_asin,rating,timestamp\nAG3,B07G,5.0,1454676557999\nAH4,0071,1.0,1000\n"
REVIEW = (
    '{"rating":4.0,"title":"Ne, \\"plus\\"","text":"a\\nb","images":[{"large_image_url":"x"}],'
    '"asin":"B1","parent_asin":"B07G","user_id":"AG3","timestamp":1454676557999,'
    '"helpful_vote":2,"verified_purchase":true}\n'
)


def test_milliseconds_become_seconds(write: Write, imported: Imported) -> None:
    logs = imported("amazon-2023", write("Video_Games.csv", CSV))
    assert logs.select("user_id", "item_id", "domain", "rating", "timestamp").rows() == [
        ("AG3", "B07G", "Video_Games", 5.0, 1454676557),
        ("AH4", "0071", "Video_Games", 1.0, 1),
    ]


def test_packed_files_do_as_well(write: Write, imported: Imported) -> None:
    assert imported("amazon-2023", write("Books.csv.gz", gzip.compress(CSV.encode()))).height == 2


def test_reviews_are_read_by_their_four_fields(write: Write, imported: Imported) -> None:
    text = REVIEW + '{"user_id":"AH4","parent_asin":"0071","rating":1,"timestamp":2000}\n'
    logs = imported("amazon-2023", write("Books.jsonl.gz", gzip.compress(text.encode())))
    assert logs.select("user_id", "item_id", "domain", "rating", "timestamp").rows() == [
        ("AG3", "B07G", "Books", 4.0, 1454676557),
        ("AH4", "0071", "Books", 1.0, 2),
    ]


def test_each_category_is_a_domain_and_metadata_is_none(write: Write, imported: Imported) -> None:
    write("meta_Books.jsonl", "{}\n")
    write("Software.csv", CSV)
    logs = imported("amazon-2023", write("Books.jsonl", REVIEW))
    assert logs["domain"].to_list() == ["Software", "Software", "Books"]


def test_categories_select(write: Write, imported: Imported) -> None:
    write("Software.csv", CSV)
    logs = imported("amazon-2023", write("Books.csv", CSV), category=["software"])
    assert set(logs["domain"]) == {"Software"}


def test_one_category_in_two_forms_is_refused(write: Write, imported: Imported) -> None:
    write("Books.csv", CSV)
    with pytest.raises(DataError, match="as CSV and as JSON lines"):
        imported("amazon-2023", write("Books.jsonl", REVIEW))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("Books.csv", "user,item\nu,i\n", "no column 'user_id'"),
        ("Books.csv", CSV.replace("5.0", "five"), "could not be read"),
        ("Books.jsonl", '{"user_id":"u"\n', "could not be read"),
        ("Books.jsonl", '{"user_id":"u","rating":1}\n', "without item_id"),
    ],
)
def test_another_form_is_told(
    write: Write, imported: Imported, name: str, text: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        imported("amazon-2023", write(name, text))
