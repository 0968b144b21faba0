"""Errors a person can act on: what was found, what was expected, what to do next.

Every expected failure is a `LorarecError`; the command line turns it into its `exit_code` and one
readable paragraph. Anything else that escapes is a bug and exits with 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LorarecError(Exception):
    """Base of all expected failures. `exit_code` is what the command line ends with."""

    exit_code = 2


class DataError(LorarecError):
    """The interaction logs do not hold what the column contract promises."""


class NothingNewError(DataError):
    """Logs hold no train row that an adapter has not been trained on yet."""


class ConfigError(LorarecError):
    """A setting is unknown, out of range, or contradicts another."""


class NotFoundError(LorarecError):
    """Something named by the user (a domain, a run, a base) does not exist."""


class NotFittedError(LorarecError):
    """A model was asked for vectors before it was trained or loaded."""


class AdapterMismatchError(LorarecError):
    """An adapter was put on a base, or a vocabulary, that it was not trained on."""


class ArtifactError(LorarecError):
    """A stored file is missing, truncated, edited or of an unknown format version."""


class StoreError(LorarecError):
    """The tracking store or the disk refused: read-only, locked, full, or of an older schema."""


class PassingError(StoreError):
    """A store that may answer the next time: it is locked, silent, or another was faster."""


class TrainingError(LorarecError):
    """Training cannot go on: the loss is not finite, or there is nothing to train on."""


class DivergedError(TrainingError):
    """The loss or a trained value is not finite: a smaller step may well do."""


class RankError(TrainingError):
    """Another process of the same training failed or is gone; this one ends with its exit code."""

    def __init__(self, text: str, exit_code: int = TrainingError.exit_code) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class ToldElsewhereError(RankError):
    """The first process has told what happened; this one has nothing to add."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `name`, best first; for "did you mean" in error messages.

    Args:
        name: What the user wrote.
        names: What exists.
        count: At most this many.

    Returns:
        Between 0 and `count` names.
    """
    known = {candidate.lower(): candidate for candidate in names}
    return [known[m] for m in get_close_matches(name.lower(), known, n=count, cutoff=0.5)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'books'?` with a leading space, or the first names there are, or nothing."""
    names = list(names)
    close = nearest(name, names)
    if close:
        return " Did you mean " + " or ".join(repr(c) for c in close) + "?"
    if names:
        listed = ", ".join(sorted(names)[:10])
        return f" There are: {listed}{', ...' if len(names) > 10 else ''}."
    return ""
