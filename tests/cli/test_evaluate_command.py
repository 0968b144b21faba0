"""`lorarec evaluate`, as typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest
from world import OUTSIDE, Ended, World

Ran = Callable[..., Ended]
Room = Callable[[int], AbstractContextManager[None]]
CHEAP = ("--arms", "popularity,base,lora")


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("evaluate", "-h")
    assert done.code == 0
    assert "lorarec evaluate --domain" in done.out.split("Example:")[1]


def test_all_four_arms_are_compared_by_default(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", "--json")
    assert done.code == 0
    assert list(done.json["arms"]) == ["popularity", "base", "lora", "full"]
    assert [row["arm"] for row in done.json["table"]] == ["popularity", "base", "lora", "full"]


def test_json_is_all_of_stdout_while_full_is_trained(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", "--arms", "full", "--json")
    assert done.json["run"] == world.newest().uri
    assert "Full fine-tuning: none made this way yet" in done.err


def test_full_is_trained_once(world: World, ran: Ran) -> None:
    arms = ["evaluate", "--domain", "books", "--arms", "full", "--json"]
    first, second = ran(*arms), ran(*arms)
    kinds = [run["kind"] for run in ran("runs", "--json").json]
    assert kinds.count("full") == 1
    assert "made before" in second.err
    assert first.json["arms"]["full"]["metrics"] == second.json["arms"]["full"]["metrics"]


def test_what_was_chosen_is_said_on_stderr(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", *CHEAP)
    assert f"Base: {world.base}" in done.err
    assert f"Adapter: {world.adapter}" in done.err


def test_the_table_says_what_it_is_a_ranking_of(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", *CHEAP, "--k", "5,20")
    header = done.out.splitlines()[1]
    assert done.out.startswith("books, test: full ranking")
    assert all(name in header for name in ("recall@5", "recall@20", "nDCG@20", "minus base"))
    assert "outside the catalogue" in done.err


@pytest.mark.parametrize(
    ("cuts", "shown"),
    [
        ("1,2,5,10,20,50,100", ["10", "20", "50"]),
        ("100,50,20,10,5", ["50", "20", "10"]),
        ("1,2,5,10", ["1", "2", "5"]),
        ("5,10,15,20", ["10", "15", "20"]),
    ],
)
def test_of_many_cuts_the_table_has_the_headline_and_its_neighbours(
    world: World, ran: Ran, cuts: str, shown: list[str]
) -> None:
    done = ran("evaluate", "--domain", "books", *CHEAP, "--k", cuts)
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert re.findall(r"recall@(\d+)", lines[1]) == shown
    assert lines[1].endswith("minus base")
    assert [line.split()[0] for line in lines[3:]] == ["popularity", "base", "lora"]
    assert f"3 of {cuts.count(',') + 1} cut-offs are shown; --json has them all." in done.err


def test_all_of_few_cuts_are_shown(world: World, ran: Ran) -> None:
    assert "cut-offs are shown" not in ran("evaluate", "--domain", "books", *CHEAP).err


def test_the_recall_is_that_of_the_recorded_run(world: World, ran: Ran) -> None:
    found = ran("evaluate", "--domain", "books", *CHEAP, "--json").json
    metrics = world.run(found["run"]).metrics
    row = found["table"][2]
    assert row["recall_at_20"] == pytest.approx(metrics["lora_recall_at_20"])
    assert row["recall_denominator"] == "held-out"
    assert row["recall_at_20_low"] <= row["recall_at_20"] <= row["recall_at_20_high"]


def test_arms_share_their_users(world: World, ran: Ran) -> None:
    rows = ran("evaluate", "--domain", "books", "--json").json["table"]
    assert len({row["users"] for row in rows}) == 1


def test_adapter_none_compares_the_rest(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "movies", *CHEAP, "--adapter", "none", "--json")
    assert list(done.json["arms"]) == ["popularity", "base"]


def test_no_arm_at_all_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", "--arms", "lora", "--adapter", "none")
    assert (done.code, done.out) == (2, "")
    assert "--arms popularity,base" in done.err


def test_an_unknown_arm_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", "--arms", "base,lore")
    assert done.code == 2
    assert "lora" in done.err


@pytest.mark.parametrize("cuts", ["0", "ten", "10,10"])
def test_a_cut_that_is_none_exits_with_2(world: World, ran: Ran, cuts: str) -> None:
    done = ran("evaluate", "--domain", "books", "--k", cuts)
    assert done.code == 2
    assert "evaluate.k" in done.err


def test_a_cut_beyond_the_catalogue_is_legal(world: World, ran: Ran) -> None:
    assert ran("evaluate", "--domain", "books", *CHEAP, "--k", "5000").code == 0


def test_a_domain_without_an_adapter_exits_with_2_and_the_next_command(
    world: World, ran: Ran
) -> None:
    done = ran("evaluate", "--domain", "movies")
    assert done.code == 2
    assert done.err.count("lorarec adapt --domain movies") == 1
    assert "the bare base is used" not in done.err


def test_an_unknown_domain_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "move", "--adapter", "none")
    assert done.code == 2
    assert "'movies'" in done.err


def test_an_adapter_of_another_base_exits_with_2_and_both_digests(world: World, ran: Ran) -> None:
    both = ["--base", world.base, "--adapter", world.other_adapter]
    done = ran("evaluate", "--domain", OUTSIDE, *both)
    assert (done.code, done.out) == (2, "")
    assert world.load(world.base).digest in done.err
    assert world.load(world.other_base).digest in done.err
    assert f"--base {world.other_base}" in done.err


def test_the_base_that_it_names_then_works_and_is_taken_without_one(world: World, ran: Ran) -> None:
    base = ["--base", world.other_base, "--adapter", world.other_adapter]
    assert ran("evaluate", "--domain", OUTSIDE, *base, *CHEAP).code == 0
    alone = ran("evaluate", "--domain", OUTSIDE, *base[2:], *CHEAP)
    assert alone.code == 0
    assert f"Base: {world.other_base}, that of the adapter." in alone.err


def test_no_test_rows_exit_with_2_and_valid_works(world: World, ran: Ran) -> None:
    parts = pl.Series(["train", "train", "valid"]).gather([n % 3 for n in range(3000)])
    world.frame.with_columns(split=parts).write_parquet("two.parquet")
    assert ran("pretrain", "--data", "two.parquet", "--split", "column").code == 0
    ask = ["evaluate", "--domain", "books", "--arms", "base,popularity"]
    refused = ran(*ask)
    assert refused.code == 2
    assert "--on valid" in refused.err
    done = ran(*ask, "--on", "valid", "--json")
    assert (done.code, done.json["part"]) == (0, "valid")


def test_an_unknown_part_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--domain", "books", "--on", "vald")
    assert done.code == 2
    assert "Did you mean 'valid'?" in done.err


def test_changed_logs_exit_with_2_and_data_says_that_they_are_meant(world: World, ran: Ran) -> None:
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    assert ran("evaluate", "--domain", "books", *CHEAP).code == 2
    assert ran("evaluate", "--domain", "books", *CHEAP, "--data", world.logs).code == 0


def test_a_truncated_adapter_exits_with_2(world: World, ran: Ran) -> None:
    path = world.artifacts(world.adapter) / "adapter" / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = ran("evaluate", "--domain", "books", *CHEAP)
    assert done.code == 2
    assert "adapter.safetensors" in done.err


def test_a_failure_ends_the_run_as_failed(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import evaluate as job

    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(job, "evaluate_ranking", failing)
    done = ran("evaluate", "--domain", "books", *CHEAP)
    assert (done.code, world.newest().kind, world.newest().status) == (3, "evaluate", "FAILED")
    assert "Unexpected error: ZeroDivisionError: boom" in done.err


def test_a_full_disk_exits_with_2_and_leaves_no_half_of_the_tables(
    world: World, ran: Ran, room_for: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import evaluate as job

    written = job.write_parquet

    def without_room(frame: pl.DataFrame, path: Path) -> None:
        with room_for(100):
            written(frame, path)

    monkeypatch.setattr(job, "write_parquet", without_room)
    done = ran("evaluate", "--domain", "books", *CHEAP)
    assert (done.code, done.out) == (2, "")
    assert "popularity.parquet" in done.err
    assert world.newest().status == "FAILED"
    assert not (world.artifacts(world.newest().uri) / "per_user").exists()


def test_slices_and_drift_are_in_the_json(world: World, ran: Ran) -> None:
    found = ran("evaluate", "--domain", "books", *CHEAP, "--json").json
    segments = found["arms"]["lora"]["segments"]
    assert {"known_users", "active_users", "quiet_users", "head_items", "tail_items"} <= set(
        segments
    )
    assert {"novelty_at_20", "popularity_bias_at_20"} <= set(found["arms"]["lora"]["coverage"])
    assert 0 < found["drift"]["items_by_chance"] < 1
    assert 0 < found["drift"]["items"] < 1


def test_on_validation_it_is_said_what_was_chosen_there(world: World, ran: Ran) -> None:
    asked = ("evaluate", "--domain", "books", "--arms", "base,lora")
    assert "were chosen on valid" in ran(*asked, "--on", "valid").err
    assert "were chosen on valid" not in ran(*asked).err
