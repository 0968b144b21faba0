"""`lorarec pretrain --checkpoint`: broken off in each way there is, and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world import Ended, World

from lorarec.errors import ConfigError
from lorarec.jobs.checkpointing import every
from lorarec.training.loop import Training

Ran = Callable[..., Ended]


def options(world: World) -> list[object]:
    """Of a training of 8 epochs with a good many steps."""
    return [
        "pretrain", "--data", world.logs, "--epochs", 8, "--dim", 8, "--json",
        "--set", "train.batch_size=128", "--set", "train.threads=1", "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture
def straight(world: World, ran: Ran) -> str:
    """The digest of a base that was trained without a break."""
    return str(ran(*options(world)).json["base_digest"])


def begun(world: World, *more: object) -> subprocess.Popen[str]:
    """The command in a process of its own, once it has written a checkpoint."""
    command = [sys.executable, "-c", "import lorarec.cli.main as m; m.run()"]
    arguments = [str(part) for part in [*options(world), *more]]
    process = subprocess.Popen(
        command + arguments,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    deadline = time.monotonic() + 120
    while not Path("saved", "checkpoint.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


def test_killed_with_minus_9_it_goes_on_to_the_same_base(
    world: World, ran: Ran, straight: str
) -> None:
    process = begun(world, "--checkpoint", "saved", "--checkpoint-every", 1)
    process.kill()
    process.communicate()
    resumed = ran(*options(world), "--checkpoint", "saved", "--resume")
    assert resumed.code == 0
    assert "Going on from the checkpoint of step" in resumed.err
    assert resumed.json["base_digest"] == straight
    assert list(Path("saved").iterdir()) == []


def test_a_learnt_temperature_goes_on_too(world: World, ran: Ran) -> None:
    learnt = ("--set", "train.learn_temperature=true")
    straight = ran(*options(world), *learnt).json["base_digest"]
    process = begun(world, *learnt, "--checkpoint", "saved", "--checkpoint-every", 1)
    process.kill()
    process.communicate()
    resumed = ran(*options(world), *learnt, "--checkpoint", "saved", "--resume")
    assert resumed.json["base_digest"] == straight


def test_ctrl_c_saves_and_says_how_to_go_on(world: World, ran: Ran, straight: str) -> None:
    process = begun(world, "--checkpoint", "saved", "--checkpoint-every", 1)
    process.send_signal(signal.SIGINT)
    words = process.communicate()[1]
    assert process.returncode == 130
    assert "Saved at step" in words
    assert "--resume" in words
    assert ran(*options(world), "--checkpoint", "saved", "--resume").json["base_digest"] == straight


@pytest.fixture
def broken_off(world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with the checkpoint of a training that failed at step 20."""
    train_batch = Training.train_batch

    def failing(self: Training, *arguments: Any) -> None:
        if self.step == 20:
            raise OSError("the disk of the logs is gone")
        train_batch(self, *arguments)

    monkeypatch.setattr(Training, "train_batch", failing)
    ran(*options(world), "--checkpoint", "saved", "--checkpoint-every", 7)
    monkeypatch.undo()
    monkeypatch.chdir(world.folder)
    return world


def test_a_checkpoint_is_not_overwritten_unasked(broken_off: World, ran: Ran) -> None:
    again = ran(*options(broken_off), "--checkpoint", "saved")
    assert again.code == 2
    assert "--resume" in again.err


def test_a_checkpoint_of_other_settings_is_refused_with_the_keys(
    broken_off: World, ran: Ran
) -> None:
    other = ran(*options(broken_off), "--seed", 3, "--checkpoint", "saved", "--resume")
    assert other.code == 2
    assert "train.seed is 3 here and 0 there" in other.err


def test_a_checkpoint_of_other_logs_is_refused(broken_off: World, ran: Ran) -> None:
    other = ran(
        *options(broken_off), "--exclude-domain", "games", "--checkpoint", "saved", "--resume"
    )
    assert other.code == 2
    assert "excluded domains" in other.err


def test_without_a_checkpoint_it_says_so_and_begins(world: World, ran: Ran, straight: str) -> None:
    first = ran(*options(world), "--checkpoint", "saved", "--resume")
    assert "There is no checkpoint in saved" in first.err
    assert first.json["base_digest"] == straight


@pytest.mark.parametrize("given", [["--resume"], ["--checkpoint-every", "5"]])
def test_options_of_checkpoints_need_a_folder(world: World, ran: Ran, given: list[str]) -> None:
    refused = ran(*options(world), *given)
    assert refused.code == 2
    assert "--checkpoint DIR" in refused.err


@pytest.mark.parametrize("text", ["", "0", "m", "-5", "5s", "0m"])
def test_a_period_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"steps, such as .* or minutes"):
        every(text)


def test_a_period_is_steps_or_minutes() -> None:
    assert (every("500"), every("10m"), every("0.5m")) == ((500, None), (None, 600), (None, 30))
