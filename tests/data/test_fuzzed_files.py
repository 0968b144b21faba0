"""Whatever bytes a log file holds: rows that keep the contract, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorarec.data.logs import load_logs
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import open_dataset
from lorarec.data.prepared.manifest import Options
from lorarec.errors import LorarecError

HEAD = {".csv": b"user_id,item_id,domain,timestamp\n", ".tsv": b"user_id\titem_id\tdomain\n"}
CELLS = st.sampled_from(
    [b"a", b"", b'"', b'"x', b"9223372036854775808", b"-1", b"\xff", b"\x00", "ü".encode(), b" "]
)
LINES = st.lists(st.lists(CELLS, max_size=6).map(b",".join), max_size=6)
WHOLE = b'{"user_id":1,"item_id":"x","domain":"d"}'
JSON = st.sampled_from([WHOLE, b'{"user_id":"a"}', b"{", b"[]", b"null", b"7", b""])
# The same examples each time: what a parser of another version says is its own affair.
_fuzz = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refused(path: Path) -> None:
    try:
        frame = load_logs(path)
    except LorarecError:
        return
    assert frame.height
    assert frame["user_id"].null_count() == 0


@_fuzz
@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_csv(tmp_path: Path, lines: list[bytes], ending: bytes, mark: bytes) -> None:
    path = tmp_path / "logs.csv"
    path.write_bytes(mark + HEAD[".csv"] + ending.join(lines))
    read_or_refused(path)


@_fuzz
@given(st.binary(max_size=80), st.sampled_from([".csv", ".tsv", ".ndjson", ".parquet", ".csv.gz"]))
def test_any_bytes(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"logs{suffix}"
    path.write_bytes(HEAD.get(suffix, b"") + content)
    read_or_refused(path)


@_fuzz
@given(st.lists(JSON, max_size=5))
def test_ndjson(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "logs.ndjson"
    path.write_bytes(b"\n".join(lines))
    read_or_refused(path)


@pytest.mark.parametrize("fault", ["missing", "type", "truncated"])
def test_one_bad_file_among_many_leaves_the_data_set_as_it_was(tmp_path: Path, fault: str) -> None:
    good = pl.DataFrame(
        {"user_id": ["u", "v"] * 9, "item_id": ["i", "j", "k"] * 6, "domain": ["d"] * 18}
    ).with_columns(timestamp=pl.int_range(18))
    for place in range(4):
        good.with_columns(pl.col("timestamp") + place).write_parquet(tmp_path / f"{place}.parquet")
    dataset = prepare([tmp_path / "0.parquet"], tmp_path / "set", Options())
    before = sorted(path.name for path in dataset.folder.rglob("*"))
    bad = tmp_path / "2.parquet"
    if fault == "missing":
        good.drop("item_id").write_parquet(bad)
    elif fault == "type":
        good.with_columns(timestamp=pl.lit([1])).write_parquet(bad)
    else:
        bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(LorarecError, match=r"2\.parquet"):
        append(dataset.folder, [tmp_path / f"{place}.parquet" for place in (1, 2, 3)])
    assert open_dataset(dataset.folder).digest == dataset.digest
    left = {path.name for path in dataset.folder.rglob("*")} - set(before)
    assert left <= {".lock"}
