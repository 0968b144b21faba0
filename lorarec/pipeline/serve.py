"""A retraining at every moment of a line of cron, with nothing but this process.

What it must remember stands in the journal, so that a restart changes nothing: the moment of the
last retraining says which moments were missed since. However many those are, they are made up for
by one retraining at once, as it takes all that came. A retraining that was broken off is gone on
with at once, too. Where there was none yet, the first is at the next moment of the line.

The clock of the machine is asked again and again while waiting. One that jumps ahead over a moment
makes it due. One that went back behind the last retraining does not stop the next: moments are
counted from the new time then; within `TOLERANCE` they are not, so that none is done twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from lorarec.config.cron import next_moment
from lorarec.errors import ConfigError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.due import TOLERANCE
from lorarec.pipeline.lock import is_held
from lorarec.pipeline.state import load

LOOK = 20.0
"""Seconds after which the clock is asked again, at most."""
SECONDS_TO_STOP = 60.0
"""How long a retraining may take to end when the server is asked to."""
SAID = {
    0: "done",
    1: "done, and something of it failed: lorarec pipeline status tells what",
    2: "not begun",
}


def serve(
    work: Path,
    cron: str | None,
    retrain: Callable[[], int],
    listen: Listener = SILENT,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """Retrain at every moment of the line, until an exception such as Ctrl-C ends it.

    Args:
        work: Folder of the journal.
        cron: The line, in UTC, as `checked_cron` passed it.
        retrain: Runs one retraining to its end and gives its exit code; one that failed, whatever
            the code, is followed by the next at its time.
        listen: Takes a sentence before and after each.
        clock: Seconds since 1970.
        sleep: Waits so many seconds.

    Raises:
        ConfigError: There is no line, or it has no moment.
        ArtifactError: The journal was edited or damaged.
    """
    if cron is None:
        raise ConfigError(
            "When to retrain is not said. Expected a line of cron in UTC: "
            'lorarec pipeline serve --cron "0 3 * * *", or [pipeline] cron in lorarec.toml.'
        )
    last, broken_off = _left(work, clock())
    told = None
    while True:
        now = clock()
        if last > now + TOLERANCE:
            listen.say(f"The clock went back behind {_shown(last)}: moments count from now.")
            last = now
        due = next_moment(cron, int(last))
        if due is None:
            raise ConfigError(f"The line of cron {cron!r} has no moment. Expected one that comes.")
        if now < due and not broken_off:
            if told != due:
                listen.say(f"Next retraining: {_shown(due)}, {_until(due - now)}.")
                told = due
            sleep(min(due - now, LOOK))
            continue
        if is_held(work):
            sleep(LOOK)  # somebody else has begun one; what that leaves is what counts
            last, broken_off = _left(work, last)
            continue
        if broken_off:
            listen.say("Retraining: going on with the one that was broken off.")
        elif now - due > LOOK:
            listen.say(f"Retraining: making up for {_shown(due)}.")
        else:
            listen.say("Retraining.")
        broken_off, last = False, now
        listen.say(f"The retraining of {_shown(now)} is {_ended(retrain())}.")


def _left(work: Path, last: float) -> tuple[float, bool]:
    """The moment of the last retraining, `last` where there was none, and whether it broke off."""
    journal = load(work)
    return (last, False) if journal is None else (float(journal.at), not journal.finished)


def run_child(command: Sequence[str]) -> int:
    """Run a retraining as a process of its own; whatever becomes of it, this one goes on.

    Asked to end, it asks the child to end first, which leaves a journal that is gone on with.

    Args:
        command: Its words.

    Returns:
        The exit code; negative is the signal that killed it.
    """
    # In a session of its own, Ctrl-C in a terminal reaches it once: from here.
    child = subprocess.Popen(command, start_new_session=True)
    try:
        return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise


def _ended(code: int) -> str:
    if code < 0:
        return f"broken off by signal {-code}; the next one goes on with it"
    return SAID.get(code, f"broken off with exit code {code}; the next one goes on with it")


def _shown(second: float) -> str:
    return f"{datetime.fromtimestamp(int(second), tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def _until(seconds: float) -> str:
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"in {days} d {hours} h"
    if hours:
        return f"in {hours} h {minutes} min"
    return f"in {minutes} min" if minutes else f"in {whole} s"
