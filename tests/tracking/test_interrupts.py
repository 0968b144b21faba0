"""Requests to end, held while something must not be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from lorarec.tracking.interrupts import ASKING, held


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    """Every signal that asks to end raises, as Ctrl-C does; afterwards all is as before."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in ASKING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_is_obeyed_when_the_block_is_done(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
    assert signal.getsignal(number) is signal.default_int_handler


def test_an_error_of_the_block_is_the_one_that_goes_on() -> None:
    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with held():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_other_threads_have_nothing_to_hold() -> None:
    done = []

    def work() -> None:
        with held():
            done.append("whole")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["whole"]


def test_what_is_ignored_hides_nothing_that_comes_after_it() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        work()
