"""Commands in an environment as torchrun makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from world import Ended

from lorarec.cli.main import COMMANDS, TOGETHER

Ran = Callable[..., Ended]


def started(monkeypatch: pytest.MonkeyPatch, rank: int, local_rank: int) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", local_rank), ("WORLD_SIZE", 4)):
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(TOGETHER)))
def test_other_commands_than_pretrain_are_refused(
    bare_project: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    started(monkeypatch, 0, 0)
    done = ran(command)
    assert done.code == 2
    assert f"`lorarec {command}` runs as one process, and torchrun has started 4" in done.err
    assert list(bare_project.iterdir()) == []


def test_of_each_machine_one_process_tells_what_is_wrong(
    bare_project: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch, 2, 0)
    assert "runs as one process" in ran("adapt").err
    started(monkeypatch, 3, 1)
    assert (ran("adapt").code, ran("adapt").err, ran("no-such").err) == (2, "", "")


def test_an_environment_that_torchrun_did_not_make_is_refused(
    bare_project: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch, 7, 0)
    done = ran("runs")
    assert done.code == 2
    assert "RANK='7'" in done.err
