from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.features import FeatureEncoder, FeatureSpec, infer_specs, read_features
from lorarec.data.features.reading import keys_of, typed
from lorarec.errors import DataError

CSV = """item_id,maker,genres,price,added,image,zip
007,x,Drama|War,1.5,2020-01-01,0.5|1,02139
8,y,Drama,,2020-01-03,-1|2.5,10001
9,,,2,,,
"""


def test_every_suffix_reads_alike(tmp_path: Path, films: pl.DataFrame) -> None:
    films.write_parquet(tmp_path / "items.parquet")
    films.write_ndjson(tmp_path / "items.ndjson")
    flat = films.with_columns(
        pl.col("genres").list.join("|"),
        pl.col("image").cast(pl.List(pl.String)).list.join("|"),
    )
    flat.write_csv(tmp_path / "items.csv")
    flat.write_csv(tmp_path / "items.tsv", separator="\t")
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress((tmp_path / "items.csv").read_bytes()))
    for file in tmp_path.iterdir():
        found = read_features(file, "item_id")
        for name in ("item_id", "maker", "price", "image"):
            assert found[name].to_list() == films[name].to_list(), (file, name)
        assert found["genres"][0].to_list() == ["Drama", "War"]


def test_text_gets_the_type_that_all_values_allow(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(CSV)
    frame = read_features(tmp_path / "items.csv", "item_id")
    assert frame["item_id"].to_list() == ["007", "8", "9"]
    assert frame["price"].to_list() == [1.5, None, 2.0]
    assert frame["genres"].to_list() == [["Drama", "War"], ["Drama"], None]
    assert frame["image"].to_list() == [[0.5, 1.0], [-1.0, 2.5], None]
    assert frame["added"].dtype == pl.Datetime
    assert frame["zip"].to_list() == ["02139", "10001", None]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "2", ""], pl.Int64),
        (["1", "2.5"], pl.Float64),
        (["1", "1e3"], pl.Float64),
        (["1", "x"], pl.String),
        (["01", "2"], pl.String),
        (["99999999999999999999", "1"], pl.Float64),
        (["2020-01-01", "2020-01-02 10:00:00"], pl.Datetime),
        (["2020-01-01", "2020-13-01"], pl.String),
        (["10001", "02139"], pl.String),
        (["1|2", "3"], pl.List(pl.String)),
        (["1|2.5", "3"], pl.List(pl.String)),
        (["1|2.5", "3|4"], pl.List(pl.Float64)),
        (["", None], pl.String),
    ],
)
def test_types_of_text(values: list[str], dtype: pl.DataType) -> None:
    assert typed(pl.Series(values, dtype=pl.String)).dtype == dtype


def test_columns_with_a_spec_stay_text(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,age,zip\n1,30,10001\n2,40,10002\n")
    specs = [FeatureSpec(name="zip", kind="categorical"), FeatureSpec(name="age", kind="numeric")]
    frame = read_features(tmp_path / "users.csv", "user_id", specs)
    assert frame.schema == {"user_id": pl.String, "age": pl.Int64, "zip": pl.String}


def test_a_later_csv_is_read_as_the_first(tmp_path: Path) -> None:
    first, later = tmp_path / "first.csv", tmp_path / "later.csv"
    first.write_text("user_id,job,tags\n1,1,a|b\n2,2,a\n3,1,b\n")
    later.write_text("user_id,job,tags\n1,01,b\n2,x,b\n3,1,a\n")
    frame = read_features(first, "user_id")
    train = frame["user_id"]
    found = infer_specs(frame, "user_id", overrides={"job": {"min_count": 1}})
    encoder = FeatureEncoder.fit(frame, "user_id", train, found.specs)
    table = encoder.transform(read_features(later, "user_id", encoder.specs), train)
    assert table.categorical["job"].tolist() == [0, 0, 1]
    assert table.categories["tags"].values.tolist() == [2, 2, 1]


def test_bad_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"3 of 4 rows repeat an id: 'a'"):
        keys_of(pl.DataFrame({"id": ["a", "a", "b", "a"]}), "id")
    with pytest.raises(DataError, match=r"2 of 3 ids are null, in rows 0, 2"):
        keys_of(pl.DataFrame({"id": [None, "a", None]}), "id")
    with pytest.raises(DataError, match=r"no column 'item_id'. Did you mean 'itemid'"):
        keys_of(pl.DataFrame({"itemid": ["a"]}), "item_id")
    with pytest.raises(DataError, match=r"is Float64. Expected a string or an integer"):
        keys_of(pl.DataFrame({"id": [0.5]}), "id")


def test_integer_ids_are_text() -> None:
    assert keys_of(pl.DataFrame({"id": [7, 2**63 - 1]}), "id").ids.tolist() == ["7", str(2**63 - 1)]


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user_id,age\n1,30\n1,31\n")
    with pytest.raises(DataError, match=r"users.csv: Column 'user_id': 2 of 2 rows repeat"):
        read_features(path, "user_id")
    path.write_text("")
    with pytest.raises(DataError, match=r"users.csv cannot be read"):
        read_features(path, "user_id")
    with pytest.raises(DataError, match="cannot be read"):
        read_features(tmp_path / "absent.parquet", "user_id")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=8) | st.integers().map(str) | st.floats().map(str), max_size=6))
def test_any_text_is_read_without_losing_a_value(values: list[str]) -> None:
    column = pl.Series("x", values, dtype=pl.String)
    assert typed(column).is_null().to_list() == (column.str.strip_chars() == "").to_list()
