from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from lorarec.cli.data import data
from lorarec.config import Settings
from lorarec.errors import ConfigError, DataError

SMALL = ["--users", "60", "--items", "40", "--interactions", "600"]


def _run(settings: Settings, *arguments: str | Path) -> Result:
    return CliRunner().invoke(data, [str(a) for a in arguments], obj=settings)


@pytest.fixture
def sample(settings: Settings) -> Path:
    result = _run(settings, "synth", "data", *SMALL)
    assert result.exit_code == 0, result.output
    return Path("data/interactions.parquet")


def test_synth_writes_a_small_parquet(sample: Path) -> None:
    frame = pl.read_parquet(sample)
    assert frame.columns == ["user_id", "item_id", "domain", "timestamp"]
    assert sorted(frame["domain"].unique()) == ["books", "games", "movies", "music"]


def test_synth_says_what_it_wrote(settings: Settings) -> None:
    result = _run(settings, "synth", "a.csv", "--domains", "x, y", "--interactions", "500")
    assert "Wrote 500 interactions of 2 domains to a.csv" in result.stdout
    assert "lorarec pretrain --data a.csv" in result.stderr


def test_the_default_sample_is_small(settings: Settings) -> None:
    _run(settings, "synth", "a.parquet")
    assert Path("a.parquet").stat().st_size < 2_000_000


def test_synth_does_not_replace_other_logs(settings: Settings) -> None:
    assert _run(settings, "synth", "a.parquet", *SMALL).exit_code == 0
    assert _run(settings, "synth", "a.parquet", *SMALL).exit_code == 0
    before = Path("a.parquet").read_bytes()
    refused = _run(settings, "synth", "a.parquet", *SMALL, "--seed", "1")
    assert isinstance(refused.exception, ConfigError)
    assert Path("a.parquet").read_bytes() == before
    assert _run(settings, "synth", "a.parquet", *SMALL, "--seed", "1", "--force").exit_code == 0
    assert Path("a.parquet").read_bytes() != before


def test_synth_writes_features_beside_the_logs(settings: Settings) -> None:
    result = _run(settings, "synth", "data", *SMALL, "--features")
    assert result.exit_code == 0
    assert "Wrote features of 60 users to data/users.parquet." in result.stdout
    assert "Wrote features of 40 items to data/items.parquet." in result.stdout
    assert pl.read_parquet("data/users.parquet").columns == ["user_id", "segment", "age"]
    assert pl.read_parquet("data/items.parquet").height == 40
    assert _run(settings, "check", "data").exit_code == 0
    plain = _run(settings, "synth", "plain", *SMALL)
    assert plain.exit_code == 0
    assert (
        Path("plain/interactions.parquet").read_bytes()
        == Path("data/interactions.parquet").read_bytes()
    )
    assert [path.name for path in Path("plain").iterdir()] == ["interactions.parquet"]


def test_features_do_not_fit_into_a_file(settings: Settings) -> None:
    result = _run(settings, "synth", "a.csv", *SMALL, "--features")
    assert isinstance(result.exception, ConfigError)
    assert "lorarec data synth a --features" in str(result.exception)
    assert not Path("a.csv").exists()


@pytest.mark.parametrize("name", ["users.parquet", "items.parquet"])
def test_synth_does_not_replace_other_features(settings: Settings, name: str) -> None:
    Path("data").mkdir()
    (Path("data") / name).write_bytes(b"mine")
    refused = _run(settings, "synth", "data", *SMALL, "--features")
    assert isinstance(refused.exception, ConfigError)
    assert f"data/{name} exists" in str(refused.exception)
    assert [path.name for path in Path("data").iterdir()] == [name]
    assert _run(settings, "synth", "data", *SMALL, "--features", "--force").exit_code == 0
    assert _run(settings, "synth", "data", *SMALL, "--features").exit_code == 0


def test_the_window_and_the_rank_are_options(settings: Settings) -> None:
    window = ["--start", "2026-03-01", "--days", "7", "--rank", "2"]
    assert _run(settings, "synth", "a.parquet", *SMALL, *window).exit_code == 0
    days = pl.from_epoch(pl.read_parquet("a.parquet")["timestamp"]).dt.date()
    assert str(days.min()) == "2026-03-01"
    assert str(days.max()) == "2026-03-07"
    refused = _run(settings, "synth", "b.parquet", *SMALL, "--rank", "17")
    assert isinstance(refused.exception, ConfigError)


def test_check_prints_counts_per_domain(settings: Settings, sample: Path) -> None:
    result = _run(settings, "check", sample)
    assert result.exit_code == 0
    assert "The contract holds in 600 rows." in result.stdout
    assert all(name in result.stdout for name in ("books", "movies", "music", "games"))


def test_check_shows_reason_count_and_five_rows(settings: Settings) -> None:
    rows = "".join(f"u{i},i,d,-1\n" for i in range(7))
    Path("bad.csv").write_text("user_id,item_id,domain,weight\n" + rows)
    result = _run(settings, "check", "bad.csv")
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 2
    assert "negative weight in 7 rows" in result.stdout
    assert [f"u{i}" in result.stdout for i in range(7)] == [True] * 5 + [False] * 2


def test_a_failed_check_is_json_too(settings: Settings) -> None:
    Path("bad.csv").write_text("user_id,item_id,domain,timestamp\nu,i,d,1700000000000\n")
    result = _run(settings, "check", "bad.csv", "--json")
    assert isinstance(result.exception, DataError)
    (violation,) = json.loads(result.stdout)["violations"]
    assert violation["rule"] == "timestamp in milliseconds"


def test_check_counts_repeats_and_other_splits(settings: Settings) -> None:
    Path("a.csv").write_text("user_id,item_id,domain,split\nu,i,d,train\nu,i,d,cold\n")
    out = _run(settings, "check", "a.csv").stdout
    assert "1 rows repeat" in out
    assert "the split 'cold': kept out of training" in out


def test_columns_are_renamed_by_the_settings(settings: Settings) -> None:
    Path("a.csv").write_text("who,item_id,domain\nu,i,d\n")
    mine = settings.model_copy(
        update={"data": settings.data.model_copy(update={"columns": {"user_id": "who"}})}
    )
    assert _run(mine, "check", "a.csv").exit_code == 0
    assert "'user_id' is missing" in _run(settings, "check", "a.csv").stdout


def test_describe_as_table_and_json(settings: Settings, sample: Path) -> None:
    table = _run(settings, "describe", sample).stdout
    assert "Shared users" in table
    assert max(len(line) for line in table.splitlines()) <= 100
    found = json.loads(_run(settings, "describe", sample, "--json").stdout)
    assert found["total"]["rows"] == 600
    assert set(found["item_overlap"]["books"]) == {"books", "movies", "music", "games"}


def test_describe_leaves_out_low_ratings_and_says_so(settings: Settings) -> None:
    Path("a.csv").write_text("user_id,item_id,domain,rating\nu,i,d,5\nu,j,d,1\nv,j,d,\n")
    mine = settings.model_copy(
        update={"data": settings.data.model_copy(update={"min_rating": 4.0})}
    )
    result = _run(mine, "describe", "a.csv", "--json")
    assert json.loads(result.stdout)["total"]["rows"] == 2
    assert "1 rows are left out" in result.stderr


def test_many_domains_fit_the_width(settings: Settings) -> None:
    rows = "".join(f"u{i % 3},i{i},domain_with_a_long_name_{i:02d}\n" for i in range(12))
    Path("a.csv").write_text("user_id,item_id,domain\n" + rows)
    table = _run(settings, "describe", "a.csv").stdout
    assert "pairs of domains share some" in table
    assert max(len(line) for line in table.splitlines()) <= 100


@pytest.mark.parametrize("command", ["synth", "check", "describe"])
def test_help_has_an_example(settings: Settings, command: str) -> None:
    out = _run(settings, command, "-h").stdout
    assert f"lorarec data {command} " in out.split("Example:")[1]
