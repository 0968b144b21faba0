"""`lorarec score`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

Ran = Callable[..., Ended]
READ = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".ndjson": pl.read_ndjson}


@pytest.fixture
def pairs(world: World) -> pl.DataFrame:
    """Six pairs in no order; one user and two items are unknown."""
    return pl.DataFrame(
        {
            "list": [3, 1, 2, 1, 3, 2],
            "user_id": ["u00057", "nobody", "u00071", "u00057", "u00057", "u00097"],
            "item_id": ["i00005", "i00012", "nothing", "none", "i00012", "i00027"],
            "note": ["a,b", 'say "x"', "ü 🎻", "-", "c", "d"],
        }
    )


@pytest.fixture
def score(ran: Ran) -> Callable[..., Ended]:
    """`score("in.csv", "out.csv")` in books."""
    return lambda pairs, out, *more: ran(
        "score", "--domain", "books", "--pairs", pairs, "--out", out, *more
    )


def write(frame: pl.DataFrame, path: str) -> str:
    getattr(frame, f"write_{Path(path).suffix[1:]}")(path)
    return path


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("score", "-h")
    assert done.code == 0
    assert "lorarec score --domain" in done.out.split("Example:")[1]


@pytest.mark.parametrize("given", [".parquet", ".csv"])
@pytest.mark.parametrize("wanted", [".parquet", ".csv", ".ndjson"])
def test_rows_keep_their_order_and_columns_in_every_format(
    pairs: pl.DataFrame, score: Ran, given: str, wanted: str
) -> None:
    assert score(write(pairs, f"in{given}"), f"out{wanted}").code == 0
    out = READ[wanted](f"out{wanted}")
    assert out.columns == [*pairs.columns, "score"]
    text = out.drop("score").cast(pl.String)
    assert text.equals(pairs.cast(pl.String))
    assert out["score"].dtype.is_float()
    assert out["score"].is_finite().all()


def test_unknown_ids_are_counted(pairs: pl.DataFrame, score: Ran) -> None:
    done = score(write(pairs, "in.csv"), "out.csv")
    assert "Wrote 6 scores to out.csv (1 rows with a cold user, 2 with a cold item)." in done.out
    assert "scored by the domain's mean" in done.err


def test_json_is_all_of_stdout(pairs: pl.DataFrame, score: Ran) -> None:
    found = score(write(pairs, "in.csv"), "out.csv", "--json").json
    assert found == {"out": "out.csv", "rows": 6, "cold_users": 1, "cold_items": 2}


def test_what_was_chosen_is_said_on_stderr(world: World, pairs: pl.DataFrame, score: Ran) -> None:
    done = score(write(pairs, "in.csv"), "out.csv")
    assert f"Base: {world.base}" in done.err
    assert f"Adapter: {world.adapter}" in done.err


def test_a_higher_score_is_a_better_rank(world: World, score: Ran, ran: Ran) -> None:
    items = ran("recommend", "--domain", "books", "--user", "u00057", "--json").json["items"]
    ranked = [item["item"] for item in items]
    backwards = pl.DataFrame({"user_id": ["u00057"] * len(ranked), "item_id": ranked[::-1]})
    score(write(backwards, "in.parquet"), "out.parquet")
    scores = pl.read_parquet("out.parquet")["score"].to_list()
    assert scores == sorted(scores)


def test_the_bare_base_scores_otherwise(pairs: pl.DataFrame, score: Ran) -> None:
    score(write(pairs, "in.csv"), "lora.csv")
    score("in.csv", "base.csv", "--adapter", "none")
    one, other = (pl.read_csv(name)["score"] for name in ("lora.csv", "base.csv"))
    assert not one.equals(other)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_missing_column_exits_with_2_and_how_to_name_it(
    pairs: pl.DataFrame, score: Ran, column: str
) -> None:
    done = score(write(pairs.rename({column: "x"}), "in.csv"), "out.csv")
    assert (done.code, done.out) == (2, "")
    assert f"lacks the column '{column}'" in done.err
    assert "--set data.columns" in done.err
    assert not Path("out.csv").exists()


def test_columns_are_named_by_a_setting(pairs: pl.DataFrame, score: Ran) -> None:
    named = write(pairs.rename({"user_id": "customer"}), "in.csv")
    assert score(named, "out.csv", "--set", "data.columns.user_id=customer").code == 0
    assert pl.read_csv("out.csv").columns == ["list", "customer", "item_id", "note", "score"]


def test_an_empty_id_exits_with_2_and_its_row(pairs: pl.DataFrame, score: Ran) -> None:
    empty = pairs.with_columns(
        item_id=pl.when(pl.col("item_id") == "none").then(None).otherwise(pl.col("item_id"))
    )
    done = score(write(empty, "in.csv"), "out.csv")
    assert done.code == 2
    assert "1 empty ids, in rows [3]" in done.err


@pytest.mark.parametrize("text", ["", "user_id,item_id\n\xff"])
def test_a_file_that_cannot_be_read_exits_with_2(world: World, score: Ran, text: str) -> None:
    Path("in.csv").write_bytes(text.encode("latin-1"))
    assert score("in.csv", "out.csv").code == 2


def test_a_file_that_is_not_there_exits_with_2(world: World, score: Ran) -> None:
    done = score("nowhere.csv", "out.csv")
    assert done.code == 2
    assert "nowhere.csv" in done.err


@pytest.mark.parametrize(("given", "wanted"), [("in.xlsx", "out.csv"), ("in.csv", "out.xlsx")])
def test_an_unknown_suffix_exits_with_2(
    pairs: pl.DataFrame, score: Ran, given: str, wanted: str
) -> None:
    write(pairs, "in.csv")
    Path(given).touch()
    done = score(given, wanted)
    assert done.code == 2
    assert ".xlsx has a suffix that is not known" in done.err
    assert not Path(wanted).exists() or wanted == "in.csv"


def test_leading_zeros_of_ids_in_csv_are_kept(world: World, score: Ran) -> None:
    padded = pl.col("user_id", "item_id").str.slice(1)
    world.pretrain(world.frame.with_columns(padded))
    Path("in.csv").write_text("user_id,item_id\n00057,00005\n57,5\n")
    found = score("in.csv", "out.csv", "--json", "--adapter", "none").json
    assert (found["cold_users"], found["cold_items"]) == (1, 1)


def test_a_failed_command_leaves_an_older_output_as_it_was(pairs: pl.DataFrame, score: Ran) -> None:
    write(pairs, "in.csv")
    assert score("in.csv", "out.csv").code == 0
    before = Path("out.csv").read_bytes()
    Path("in.csv").write_text("user_id\nu1\n")
    assert score("in.csv", "out.csv").code == 2
    assert Path("out.csv").read_bytes() == before


def test_an_unknown_domain_exits_with_2_and_the_nearest(pairs: pl.DataFrame, ran: Ran) -> None:
    write(pairs, "in.csv")
    done = ran("score", "--domain", "game", "--pairs", "in.csv", "--out", "out.csv")
    assert done.code == 2
    assert "Did you mean 'games'?" in done.err


def test_changed_logs_exit_with_2_and_data_says_that_they_are_meant(
    world: World, pairs: pl.DataFrame, score: Ran
) -> None:
    write(pairs, "in.csv")
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    assert score("in.csv", "out.csv").code == 2
    assert score("in.csv", "out.csv", "--data", world.logs).code == 0


def test_it_records_no_run(world: World, pairs: pl.DataFrame, score: Ran) -> None:
    before = world.runs()
    assert score(write(pairs, "in.csv"), "out.csv").code == 0
    assert world.runs() == before
