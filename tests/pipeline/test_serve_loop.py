"""The embedded scheduler, on a clock of the test's: what is run when, and what ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lorarec.errors import ConfigError
from lorarec.pipeline import serve as module
from lorarec.pipeline.lock import alone
from lorarec.pipeline.serve import run_child, serve
from lorarec.pipeline.state import Journal, load, save

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
NIGHTLY = "0 3 * * *"


@dataclass
class Night:
    """A clock that sleeping moves, and retrainings that are noted in hours since midnight."""

    work: Path
    now: float = MIDNIGHT
    end: float = MIDNIGHT + 2 * DAY
    ran: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    jumps: dict[float, float] = field(default_factory=dict)
    """Hour at which the clock jumps → to which."""
    code: int = 0
    finished: bool = True
    lasts: float = 60.0
    on_sleep: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.on_sleep()
        for hour, other in list(self.jumps.items()):
            if self.now >= MIDNIGHT + hour * HOUR:
                self.now = MIDNIGHT + other * HOUR
                del self.jumps[hour]
        if self.now >= self.end:
            raise KeyboardInterrupt

    def retrain(self) -> int:
        self.ran.append(round((self.now - MIDNIGHT) / HOUR, 2))
        begun = Journal.begun(int(self.now))
        save(self.work, begun.model_copy(update={"finished": self.finished}))
        self.now += self.lasts
        if self.now >= self.end:
            raise KeyboardInterrupt
        return self.code

    def serve(self, cron: str | None = NIGHTLY) -> list[float]:
        from lorarec.jobs.listener import Listener

        with pytest.raises(KeyboardInterrupt):
            serve(
                self.work, cron, self.retrain, Listener(self.said.append),
                lambda: self.now, self.sleep,
            )  # fmt: skip
        return self.ran


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def left(night: Night, hour: float, finished: bool = True) -> None:
    """A retraining of before the start."""
    begun = Journal.begun(int(MIDNIGHT + hour * HOUR))
    save(night.work, begun.model_copy(update={"finished": finished}))


def test_it_runs_at_each_moment_and_tells_the_next(night: Night) -> None:
    assert night.serve() == [3, 27]
    assert night.said[:3] == [
        "Next retraining: 2026-03-01 03:00:00 UTC, in 3 h 0 min.",
        "Retraining.",
        "The retraining of 2026-03-01 03:00:00 UTC is done.",
    ]
    assert "2026-03-02 03:00:00 UTC, in 23 h 59 min" in night.said[3]


def test_missed_moments_are_one_retraining_at_the_start(night: Night) -> None:
    left(night, -5 * 24)
    night.end = MIDNIGHT + DAY
    assert night.serve() == [0, 3]
    assert "making up for" in night.said[0]


def test_a_restart_after_the_moment_does_not_do_it_again(night: Night) -> None:
    left(night, 3)
    night.now = MIDNIGHT + 4 * HOUR
    assert night.serve() == [27]


def test_without_a_retraining_before_the_first_is_at_the_next_moment(night: Night) -> None:
    night.now = MIDNIGHT + 4 * HOUR
    assert night.serve() == [27]


def test_one_that_was_broken_off_is_gone_on_with_at_once(night: Night) -> None:
    left(night, -1, finished=False)
    night.end = MIDNIGHT + 2 * HOUR
    assert night.serve() == [0]
    assert "broken off" in night.said[0]


@pytest.mark.parametrize("code", [1, 2, 3, -9])
def test_one_that_fails_is_followed_by_the_next_at_its_time(night: Night, code: int) -> None:
    night.code, night.finished = code, False
    assert night.serve() == [3, 27]
    assert any("is " in said and "done." not in said for said in night.said)


def test_one_that_takes_longer_than_the_period_is_followed_by_one(night: Night) -> None:
    night.lasts, night.end = 2.5 * HOUR, MIDNIGHT + 6.1 * HOUR
    assert night.serve("0 * * * *") == [1, 3.5, 6]


def test_a_clock_that_jumps_over_a_moment_makes_it_due(night: Night) -> None:
    night.jumps = {1: 10}
    assert night.serve()[0] == pytest.approx(10, abs=0.1)


def test_a_clock_that_came_back_from_the_far_future_stops_nothing(night: Night) -> None:
    left(night, 365 * 24)
    assert night.serve() == [3, 27]
    assert "went back" in night.said[0]


def test_a_clock_that_is_set_back_a_little_does_nothing_twice(night: Night) -> None:
    night.jumps = {3.2: 2.5}
    assert night.serve() == [3, 27]


def test_a_retraining_by_hand_is_waited_for_and_counts(night: Night) -> None:
    with alone(night.work) as _:
        pass
    stack = alone(night.work)
    stack.__enter__()
    night.now = MIDNIGHT + 2.9 * HOUR

    def on_sleep() -> None:
        if night.now > MIDNIGHT + 3.1 * HOUR and load(night.work) is None:
            left(night, 3.05)
            stack.__exit__(None, None, None)

    night.on_sleep = on_sleep
    assert night.serve() == [27]


def test_no_line_and_a_line_without_a_moment_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--cron"):
        serve(tmp_path, None, lambda: 0)
    with pytest.raises(ConfigError, match="no moment"):
        serve(tmp_path, "0 3 30 2 *", lambda: 0)


def test_a_child_gives_its_code_or_its_signal() -> None:
    assert run_child([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_child([sys.executable, "-c", kill]) == -signal.SIGKILL


def test_a_child_is_asked_to_end_before_the_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_): pathlib.Path({str(mark)!r}).write_text('well'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    plain = subprocess.Popen

    def interrupted(command: list[str], **options: object) -> subprocess.Popen[str]:
        child = plain(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return child  # type: ignore[no-any-return]

    monkeypatch.setattr(module.subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_child([sys.executable, "-c", code])
    finally:
        signal.signal(signal.SIGINT, before)
    assert mark.read_text() == "well"
