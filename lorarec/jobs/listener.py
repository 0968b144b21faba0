"""How a job talks to whoever started it: sentences and progress, both optional."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lorarec.training.loop import Progress


def _nothing(_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Listener:
    """Where a job's words and progress go; by default nowhere, as in a notebook or a test."""

    say: Callable[[str], None] = _nothing
    """Takes one sentence, such as which base was chosen."""
    begin: Callable[[str, int], None] = lambda _name, _rows: None
    """Takes what is about to be trained and the rows it will see at most."""
    step: Callable[[Progress], None] = _nothing
    """Takes the state after a step or an epoch."""


SILENT = Listener()
