"""`lorarec adapt`, as typed."""

from __future__ import annotations

import os
from collections.abc import Callable

import polars as pl
import pytest
from world import OUTSIDE, Ended, World

Ran = Callable[..., Ended]


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("adapt", "-h")
    assert done.code == 0
    assert "lorarec adapt --domain" in done.out.split("Example:")[1]


def test_the_base_it_took_is_said_on_stderr(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies")
    assert done.code == 0
    assert f"Base: {world.base}" in done.err
    assert world.base not in done.out


def test_it_prints_the_adapter_and_the_next_command(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies", "--targets", "items:2,bias")
    assert world.newest().uri in done.out
    assert "items:2,bias" in done.out
    assert "Next: lorarec evaluate --domain movies" in done.err


def test_the_default_targets_break_after_a_comma_alone(world: World, ran: Ran) -> None:
    lines = ran("adapt", "--domain", "movies").out.splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[0].split()) == "adapter targets parameters of full kB on disk seconds"
    words = [word for line in lines[:5] for word in line.split() if ":2" in word or "bias" in word]
    assert "".join(words) == "users:2,items:2,transform:2,bias"
    assert all(word.endswith((",", "bias")) for word in words)


def test_json_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran("adapt", "--domain", "movies", "--json").json
    run = world.newest()
    assert found["run"] == run.uri
    assert found["adapter_digest"] == run.tag("adapter_digest")
    assert found["base_digest"] == world.load(world.base).digest
    assert found["parameters"] == found["parameters_factors"] + found["parameters_grown"]


def test_json_stays_clean_while_a_warning_is_said(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies", "--rank", 8, "--json")
    assert done.code == 0
    assert done.json["warnings"]
    assert all(f"Warning: {warning}" in done.err for warning in done.json["warnings"])


def test_an_oversized_rank_is_warned_of_with_the_largest_that_saves(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies", "--targets", "items:8")
    assert done.code == 0
    assert "Warning: Rank 8 on items trains" in done.err
    assert "the largest rank that saves is" in done.err


@pytest.mark.parametrize(("rank", "said"), [(0, "adapt.rank"), (-3, "adapt.rank"), (9, "1 to 8")])
def test_a_rank_out_of_range_exits_with_2_and_no_run(
    world: World, ran: Ran, rank: int, said: str
) -> None:
    before = world.runs()
    done = ran("adapt", "--domain", "books", "--rank", rank)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert world.runs() == before


def test_an_unknown_target_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "books", "--targets", "user:4")
    assert done.code == 2
    assert "Did you mean 'users'?" in done.err


def test_an_unknown_domain_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "bookz")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'books'?" in done.err


def test_a_base_is_taken_by_name(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", OUTSIDE, "--base", world.other_base, "--json")
    assert done.json["base_digest"] == world.load(world.other_base).digest
    assert done.json["parameters_grown"] > 0


def test_an_unknown_base_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "books", "--base", "runs:/" + "0" * 32)
    assert done.code == 2
    assert "lorarec runs" in done.err


def test_a_run_that_made_no_base_is_no_base(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "books", "--base", world.adapter)
    assert done.code == 2
    assert "has no artifact 'base'" in done.err


def test_without_a_base_the_next_command_is_said(project: object, ran: Ran) -> None:
    done = ran("adapt", "--domain", "books")
    assert done.code == 2
    assert "lorarec pretrain --data" in done.err


def test_a_truncated_base_exits_with_2_and_names_the_file(world: World, ran: Ran) -> None:
    path = world.artifacts(world.base) / "base" / "base.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    done = ran("adapt", "--domain", "books")
    assert done.code == 2
    assert "base.safetensors" in done.err


def test_an_edited_base_exits_with_2(world: World, ran: Ran) -> None:
    path = world.artifacts(world.base) / "base" / "base.json"
    path.write_text(path.read_text().replace('"cosine"', '"dot"'))
    done = ran("adapt", "--domain", "books")
    assert done.code == 2
    assert "edited" in done.err


def test_changed_logs_exit_with_2_and_data_says_that_they_are_meant(world: World, ran: Ran) -> None:
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    refused = ran("adapt", "--domain", "books")
    assert refused.code == 2
    assert f"--data {world.logs}" in refused.err
    assert ran("adapt", "--domain", "books", "--data", world.logs).code == 0


def test_options_win_over_the_settings(world: World, ran: Ran) -> None:
    options = ["--rank", 3, "--epochs", 1, "--seed", 7]
    assert ran("adapt", "--domain", "books", *options).code == 0
    params = world.newest().params
    found = [params[name] for name in ("adapt.rank", "adapt.epochs", "train.seed")]
    assert found == ["3", "1", "7"]


def test_ctrl_c_exits_with_130_a_clear_word_and_no_adapter(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.cli import listening

    class Stopping:
        def update(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    def stopping(*_: object) -> object:
        from contextlib import nullcontext

        return nullcontext(Stopping())

    monkeypatch.setattr(listening, "progress", stopping)
    done = ran("adapt", "--domain", "movies")
    assert (done.code, done.out) == (130, "")
    assert "Stopped." in done.err
    assert "Traceback" not in done.err
    run = world.newest()
    assert (run.domain, run.status) == ("movies", "KILLED")
    assert not (world.artifacts(run.uri) / "adapter").exists()


def test_after_a_ctrl_c_the_same_command_works(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import adapt as job

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "search", stopped)
        assert ran("adapt", "--domain", "movies").code == 130
    assert ran("adapt", "--domain", "movies").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_store_exits_with_2(world: World, ran: Ran) -> None:
    database = world.folder / "mlruns" / "mlflow.db"
    database.chmod(0o400)
    try:
        done = ran("adapt", "--domain", "books")
    finally:
        database.chmod(0o600)
    assert done.code == 2
    assert "read-only" in done.err
