from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.contract import ContractError
from lorarec.data.files import find_files
from lorarec.data.logs import load_logs, logs_digest, read_logs, scan_logs, write_logs
from lorarec.data.schema import SCHEMA
from lorarec.errors import DataError

CSV = """user_id,item_id,domain,timestamp,rating
007,i1,books,10,5
u2,i2,books,20,
u3,i1,music,30,2
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "logs.csv"
    path.write_text(CSV)
    return path


def test_text_ids_keep_their_zeros(csv: Path) -> None:
    assert load_logs([csv])["user_id"].to_list() == ["007", "u2", "u3"]


def test_one_path_is_enough(csv: Path) -> None:
    assert load_logs(csv).equals(load_logs([str(csv)]))


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.parquet", "a.ndjson", "a.jsonl", "a.ndjson.gz"],
)
def test_every_format_gives_the_same_logs(csv: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = pl.read_csv(csv, infer_schema=False)
    typed = text.with_columns(pl.col("timestamp").cast(int), pl.col("rating").cast(float))
    body = {
        ".csv": CSV,
        ".tsv": CSV.replace(",", "\t"),
        ".ndjson": typed.write_ndjson(),
        ".jsonl": typed.write_ndjson(),
    }
    if name == "a.parquet":
        typed.write_parquet(path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(body[path.with_suffix("").suffix].encode()))
    else:
        path.write_text(body[path.suffix])
    assert load_logs([path]).equals(load_logs([csv]))


def test_ndjson_ids_may_mix_numbers_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    lines = [f'{{"user_id": {u}, "item_id": 1, "domain": "d"}}' for u in ["1"] * 200 + ['"x"']]
    path.write_text("\n".join(lines))
    assert load_logs([path])["user_id"].unique().sort().to_list() == ["1", "x"]


def test_a_scan_is_lazy_and_equal(csv: Path) -> None:
    lazy = scan_logs([csv, csv])
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(load_logs([csv, csv]))


def test_files_are_concatenated_in_the_order_given(csv: Path, tmp_path: Path) -> None:
    other = tmp_path / "a.csv"
    other.write_text("user_id,item_id,domain\nfirst,i,d\n")
    assert load_logs([csv, other])["user_id"].to_list() == ["007", "u2", "u3", "first"]
    assert load_logs([tmp_path])["user_id"].to_list() == ["first", "007", "u2", "u3"]


def test_a_directory_with_interactions_means_them(csv: Path, tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(CSV)
    (tmp_path / "items.csv").write_text("item_id,title\n1,x\n")
    assert [f.path.name for f in find_files([tmp_path])] == ["interactions.csv"]


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a[1].ndjson"):
        path = tmp_path / name
        path.write_text(CSV if name.endswith("csv") else '{"user_id":1,"item_id":2,"domain":"d"}')
        assert load_logs([path]).height > 0


def test_null_ratings_survive_min_rating(csv: Path) -> None:
    logs = read_logs([csv], min_rating=3)
    assert logs.frame["user_id"].to_list() == ["007", "u2"]
    assert logs.dropped_low_rating == 1


def test_min_rating_that_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain,rating\nu,i,d,2\n")
    with pytest.raises(DataError, match=r"the highest is 2.*min_rating"):
        load_logs([path], min_rating=3)


def test_ratings_weigh_only_when_asked(csv: Path) -> None:
    assert load_logs([csv])["weight"].to_list() == [1, 1, 1]
    assert load_logs([csv], rating_weight=True)["weight"].to_list() == [5, 1, 2]


def test_a_broken_rule_names_its_file(csv: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("user_id,item_id,domain,weight\nu,i,d,-1\n")
    with pytest.raises(ContractError, match=r"bad.csv: negative weight in 1 row:") as caught:
        load_logs([csv, bad])
    assert caught.value.report.rows == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"user_id,item_id,domain\n", "is empty"),
        ("a.ndjson", b"", "could not be read"),
        ("a.parquet", b"PAR1", "could not be read"),
        ("a.csv", b"user_id,item_id,domain\n\xff\xfe,1,d\n", "could not be read"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:30], "could not be read"),
        ("a.ndjson", b'{"user_id": 1}\n{"user', "could not be read"),
        ("a.txt", b"x", "suffix"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load_logs([path])
    assert str(path) in str(caught.value)


def test_a_truncated_parquet_is_named(csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_logs(load_logs(csv), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="could not be read"):
        load_logs([path])


def test_missing_paths_and_bare_directories(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_logs([tmp_path / "none.csv"])
    with pytest.raises(DataError, match="without log files"):
        load_logs([tmp_path])
    with pytest.raises(DataError, match="No log files"):
        load_logs([])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.tsv", "a.ndjson", "folder"])
def test_written_logs_are_read_back(csv: Path, tmp_path: Path, name: str) -> None:
    logs = load_logs(csv)
    assert load_logs(write_logs(logs, tmp_path / name)).equals(logs)


def test_the_digest_sees_order_and_nulls_but_not_chunks(csv: Path) -> None:
    logs = load_logs(csv)
    chunked = pl.concat([logs.head(1), logs.tail(2)], rechunk=False)
    assert logs_digest(chunked) == logs_digest(logs)
    assert logs_digest(logs.reverse()) != logs_digest(logs)
    assert logs_digest(logs.with_columns(rating=pl.lit(0.0))) != logs_digest(logs)


def test_the_digest_is_what_it_was_when_released(csv: Path) -> None:
    known = "83ceb128bb2d7f30a212eec5feb82012a735fc0dbf2b8e9dcaf1ec91afd22ce9"
    assert logs_digest(load_logs(csv)) == known


_word = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(_word, _word), min_size=1, max_size=5))
def test_any_text_survives_a_csv(tmp_path_factory: pytest.TempPathFactory, pairs: list) -> None:
    pairs = [(u, i) for u, i in pairs if u.strip() and i.strip()] or [("u", "i")]
    frame = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    frame.with_columns(domain=pl.lit("d")).write_csv(path)
    assert load_logs([path]).select("user_id", "item_id").rows() == pairs


def test_loaded_logs_have_the_schema(csv: Path) -> None:
    assert dict(load_logs([csv]).schema) == SCHEMA
