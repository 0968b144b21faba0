"""How a download talks to whoever started it: sentences and bytes, both optional."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Watcher:
    """Where words and progress go; by default nowhere, as in a notebook or a test."""

    say: Callable[[str], None] = _nothing
    """Takes one sentence."""
    begin: Callable[[str, int | None], None] = _nothing
    """Takes a file's name and the bytes still to come; None where the server does not tell."""
    step: Callable[[int], None] = _nothing
    """Takes the bytes that came since the last call."""


SILENT = Watcher()
