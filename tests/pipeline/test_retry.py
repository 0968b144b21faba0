"""What may pass is tried again with growing waits; what cannot is not."""

from __future__ import annotations

import errno

import pytest
from world import Words

from lorarec.errors import ConfigError, DataError, PassingError, StoreError
from lorarec.pipeline.retry import LONGEST_WAIT, Patience, passes, patiently
from lorarec.tracking.champions import ChampionMovedError


class Failing:
    """Fails so many times, then returns."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "well"


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (PassingError("locked"), True),
        (ChampionMovedError("moved"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (TimeoutError("slow"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (StoreError("read-only"), False),
        (ConfigError("wrong"), False),
        (DataError("wrong"), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_may_pass(error: Exception, may: bool) -> None:
    assert passes(error) is may


def test_waits_double_up_to_a_bound() -> None:
    waits: list[float] = []
    do = Failing(PassingError("locked"), 12)
    assert patiently("it", do, Patience(20, 2.0, waits.append)) == "well"
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == LONGEST_WAIT


def test_the_last_error_comes_out() -> None:
    words, do = Words(), Failing(PassingError("locked"), 9)
    with pytest.raises(PassingError):
        patiently("the gate", do, Patience(3, 0.0, lambda _: None), words.listener)
    assert do.calls == 3
    assert "Attempt 3 of 3" in words


def test_what_cannot_pass_is_tried_once() -> None:
    do = Failing(DataError("wrong"), 9)
    with pytest.raises(DataError):
        patiently("it", do, Patience(3, 0.0))
    assert do.calls == 1


def test_a_locked_store_may_pass() -> None:
    from lorarec.tracking.refusals import refusals

    with pytest.raises(PassingError), refusals("sqlite:///x"):
        raise OSError("database is locked")
