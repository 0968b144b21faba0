"""`lorarec tune`, as typed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from world import Ended, World

from lorarec.config import Settings
from lorarec.errors import DivergedError
from lorarec.jobs import trials
from lorarec.tracking.registry import nested_runs, runs_of

Ran = Callable[..., Ended]
SMALL = ("--trials", 3, "--set", "tune.dims=4,8")


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("tune", "-h")
    assert done.code == 0
    assert "lorarec tune --data" in done.out.split("Example:")[1]
    assert max(map(len, done.out.splitlines())) <= 100


def test_it_prints_the_trials_what_changes_and_the_next_command(world: World, ran: Ran) -> None:
    done = ran("tune", "--data", world.logs, *SMALL)
    assert done.code == 0
    assert f"Search {world.newest().uri}, best first" in done.out
    assert "as set" in done.out
    assert "best changes" in done.out
    assert "Next: lorarec pretrain --data" in done.err
    assert max(map(len, done.out.splitlines())) <= 100


def test_json_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran("tune", "--data", world.logs, *SMALL, "--json").json
    assert found["run"] == world.newest().uri
    assert sorted(trial["trial"] for trial in found["trials"]) == [0, 1, 2]
    scores = [trial["metrics"]["valid_ndcg"] for trial in found["trials"]]
    assert scores == sorted(scores, reverse=True)
    best = found["trials"][0]
    assert (best["trial"], best["diverged"]) == (found["best"], False)
    start = next(trial for trial in found["trials"] if trial["trial"] == 0)
    assert {**start["values"], **found["changes"]} == best["values"]


def test_the_next_command_trains_what_validated_best(world: World, ran: Ran) -> None:
    found = ran(
        "tune", "--data", world.logs, *SMALL, "--json", "--exclude-domain", "games",
        "--epochs", 1, "--set", "train.clip_norm=2.5",
    ).json  # fmt: skip
    base = ran(*shlex.split(found["next"])[1:], "--json").json
    score = found["trials"][0]["metrics"]["valid_ndcg"]
    assert base["metrics"]["valid_ndcg"] == score
    assert base["domains"] == ["books", "movies"]


def test_the_file_of_the_search_is_another_way_to_train_it(world: World, ran: Ran) -> None:
    found = ran("tune", "--data", world.logs, *SMALL, "--json").json
    file = world.artifacts(found["run"]) / "best.toml"
    base = ran("pretrain", "--data", world.logs, "--config", file, "--json").json
    assert base["metrics"]["valid_ndcg"] == found["trials"][0]["metrics"]["valid_ndcg"]


def test_settings_that_nothing_beats_are_said_to_be_best(world: World, ran: Ran) -> None:
    done = ran("tune", "--data", world.logs, "--trials", 1)
    assert "No trial validated better than the settings as they are." in done.err
    assert "best changes" not in done.out
    assert "best, as set" in done.out
    assert max(map(len, done.out.splitlines())) <= 100


def test_a_trial_that_diverged_is_in_the_table(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(settings: Settings, *others: Any) -> Any:
        if settings.model.dim != 8:
            raise DivergedError("The loss became inf.")
        return train_base(settings, *others)

    train_base = trials.train_base
    monkeypatch.setattr(trials, "train_base", diverged)
    only = [f"--set=tune.{name}=[]" for name in ("learning_rate", "temperature", "weight_decays")]
    done = ran("tune", "--data", world.logs, "--set", "tune.dims=[4]", *only)
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines if "as set" in line or "diverged" in line] == [
        "0",
        "1",
    ]
    assert "Trial 1 diverged and is left out: The loss became inf." in done.err


def test_when_all_diverge_that_is_told_with_what_to_do(world: World, ran: Ran) -> None:
    done = ran(
        "tune", "--data", world.logs, "--trials", 2, "--set", "tune.learning_rate=1e38,3e38",
        "--set", "train.learning_rate=1e38",
    )  # fmt: skip
    assert done.code == 2
    assert "All 2 trials diverged" in done.err


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one_trial(world: World, ran: Ran, count: int) -> None:
    done = ran("tune", "--data", world.logs, "--trials", count)
    assert done.code == 2
    assert "tune.trials" in done.err


KILLED = """
import os, signal
from lorarec.cli.main import run
from lorarec.jobs import trials
begun, train_base = [], trials.train_base
def dying(*arguments, **options):
    begun.append(None)
    if len(begun) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_base(*arguments, **options)
trials.train_base = dying
run()
"""


def test_killed_with_minus_9_the_same_command_goes_on(world: World, ran: Ran) -> None:
    words = ["tune", "--data", str(world.logs), "--trials", "4", "--set", "tune.dims=4,8", "--json"]
    straight = ran(*words, "--set", "tracking.experiment=straight").json
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        capture_output=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert ended.returncode == -signal.SIGKILL
    (found,) = [run for run in runs_of(world.store, "trial") if run.tag("trial") == "1"]
    search = next(runs_of(world.store, "tune"))
    assert (search.status, found.status) == ("RUNNING", "RUNNING")
    resumed = ran(*words, "--resume")
    assert f"Going on with the search {search.uri}" in resumed.err
    assert told(resumed.json) == told(straight)
    assert resumed.json["run"] == search.uri
    numbers = [run.tag("trial") for run in nested_runs(world.store, search.run_id)]
    assert numbers.count("0") == 1
    assert "RUNNING" not in {run.status for run in nested_runs(world.store, search.run_id)}


def told(found: dict[str, Any]) -> list[tuple[object, ...]]:
    """What two searches have in common that are the same."""
    return [(t["trial"], t["values"], t["metrics"]["valid_ndcg"]) for t in found["trials"]]


def test_a_named_search_goes_on_with_more_trials(world: World, ran: Ran) -> None:
    first = ran("tune", "--data", world.logs, *SMALL, "--json").json
    more = ran(
        "tune", "--data", world.logs, *SMALL, "--trials", 4, "--json", "--resume", first["run"]
    ).json
    assert (more["run"], len(more["trials"])) == (first["run"], 4)


def test_another_search_is_not_gone_on_with(world: World, ran: Ran) -> None:
    ran("tune", "--data", world.logs, *SMALL)
    other = ran("tune", "--data", world.logs, *SMALL, "--seed", 3, "--resume")
    assert other.code == 2
    assert "train.seed is 3 here and 0 there" in other.err


def test_the_list_of_runs_has_the_search_and_not_its_trials(world: World, ran: Ran) -> None:
    ran("tune", "--data", world.logs, *SMALL)
    kinds = [run["kind"] for run in ran("runs", "--json").json]
    assert kinds[0] == "tune"
    assert "trial" not in kinds
