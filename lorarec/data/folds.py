"""Rolling windows over the timeline, for back-tests: several splits by time, each a window later.

Every fold trains on all that came before its validation, as a retraining on that day would have:

              first                                                      last
    logs        |==========================================================|
    fold 0      |------- train -------| valid | test  |        later        |
    fold 1      |----------- train -----------| valid | test  |    later    |
    fold 2      |--------------- train ---------------| valid | test  |later|
    fold 3      |------------------- train -------------------| valid | test|

A window is the length of a validation and of a test. The test of a fold is the validation of the
next, and the newest fold ends where the logs do.
"""

from __future__ import annotations

import re

from lorarec.config.moments import shown_second
from lorarec.data.splits import SplitRecord
from lorarec.errors import DataError

UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
"""Seconds of an hour, a day and a week."""


def rolling_folds(first: int, last: int, folds: int, window: int) -> list[SplitRecord]:
    """The splits of a back-test, oldest first.

    Fold i of n is train < t_valid <= valid < t_test <= test < t_end, with

        t_end   = last + 1 - (n - 1 - i) window
        t_test  = t_end - window
        t_valid = t_end - 2 window

    These are seconds, the same ones for all domains, so rows in the same second lie on one side.
    Rows at t_end or after it are outside of the fold, in the part `later`. A part may be empty
    where nothing happened for a whole window; its counts say so.

    Args:
        first: Second of the first row.
        last: Second of the last row; it is in the newest fold's test.
        folds: n, 1 or more.
        window: Seconds of a validation and of a test, 1 or more.

    Returns:
        n records for `splits.apply_split`, without counts.

    Raises:
        DataError: There is no fold or no window, or the oldest fold would have no train row.
    """
    if folds < 1 or window < 1:
        raise DataError(
            f"{folds} folds with a window of {window} seconds were asked for. Expected one or more "
            f"folds and a window above 0, such as --folds 4 --window 7d."
        )
    ends = [last + 1 - back * window for back in range(folds - 1, -1, -1)]
    if ends[0] - 2 * window <= first:
        fit = (last - first) // window - 1
        remedy = f"at most {fit} folds of it" if fit >= 1 else "a shorter window"
        needed = shown_second(ends[0] - 2 * window)
        raise DataError(
            f"{folds} folds with a window of {shown_window(window)} need rows before {needed}, and "
            f"the first is from {shown_second(first)}. Expected {remedy}: a fold takes one window "
            f"for validation and one for test, and rows before them to train on."
        )
    return [
        SplitRecord(
            how="time",
            used="time",
            seed=0,
            valid_share=0.0,
            test_share=0.0,
            t_valid=end - 2 * window,
            t_test=end - window,
            t_end=end,
        )
        for end in ends
    ]


def window_seconds(text: str) -> int:
    """Seconds of a window such as `7d`, `12h` or `2w`.

    Raises:
        DataError: It is written otherwise, or is 0.
    """
    found = re.fullmatch(r"\s*(\d+)\s*([hdw])\s*", text)
    if found is None or not int(found[1]):
        raise DataError(
            f"The window {text!r} cannot be read. Expected a number and h, d or w for hours, days "
            f"or weeks, such as 7d."
        )
    return int(found[1]) * UNITS[found[2]]


def shown_window(seconds: int) -> str:
    """A window as it is written, such as `7d`; plain seconds where it is no whole hours."""
    for unit in ("d", "h"):
        if seconds % UNITS[unit] == 0:
            return f"{seconds // UNITS[unit]}{unit}"
    return f"{seconds} s"
