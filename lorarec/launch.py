"""What torchrun tells the processes that it starts: which of how many each of them is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lorarec.errors import ConfigError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Variables that torchrun sets; with one of them missing it was not torchrun."""


@dataclass(frozen=True)
class Launch:
    """One of the processes that train together."""

    rank: int
    """From 0; the first tells and records for all."""
    ranks: int
    """How many there are, on all machines."""
    local_rank: int
    """From 0 on each machine: which GPU is this one's."""


def launched(environ: Mapping[str, str] | None = None) -> Launch | None:
    """This process as torchrun started it; None where something else did.

    Args:
        environ: Environment variables; None is the process's own.

    Raises:
        ConfigError: A variable of torchrun's is no number, or the rank is not among the ranks.
    """
    environ = os.environ if environ is None else environ
    found = {name: environ[name] for name in NAMES if name in environ}
    if len(found) < len(NAMES):
        return None
    if all(text.isdecimal() for text in found.values()):
        rank, ranks, local_rank = (int(found[name]) for name in NAMES)
        if max(rank, local_rank) < ranks:
            return Launch(rank, ranks, local_rank)
    shown = ", ".join(f"{name}={text!r}" for name, text in found.items())
    raise ConfigError(
        f"The environment has {shown}. Expected numbers as torchrun sets them, with ranks from 0 "
        f"to WORLD_SIZE - 1; start with torchrun, or unset them."
    )
