"""Which checkpoint belongs to a pretraining, and how often it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.errors import ConfigError
from lorarec.jobs.sides import NO_SIDES, Sides
from lorarec.storage import sha256_bytes
from lorarec.training.checkpoint import Checkpoints, Setting

EVERY = "10m"
"""How often where nothing is said."""
ELSEWHERE = ("train.device", "train.threads", "train.shard_tables")
"""Settings that another machine may have otherwise; they decide no result but by rounding."""


@dataclass(frozen=True)
class Checkpointing:
    """What the command line asks of checkpoints."""

    folder: Path
    every: str = EVERY
    """Steps, such as `500`, or minutes, such as `10m`."""
    resume: bool = False
    """Go on from what is in the folder; begin where it is empty."""

    def checkpoints(self, deciding: Mapping[str, Setting], writes: bool = True) -> Checkpoints:
        """The folder, bound to all that decides this training's result.

        Args:
            deciding: As the function of this name gives it.
            writes: False on all ranks but the first.

        Raises:
            ConfigError: `every` is neither steps nor minutes.
        """
        steps, seconds = every(self.every)
        return Checkpoints(self.folder, deciding, steps, seconds, resume=self.resume, writes=writes)


def deciding(
    settings: Settings,
    source: DataSource,
    split: SplitRecord,
    exclude: Sequence[str],
    sides: Sides = NO_SIDES,
) -> dict[str, Setting]:
    """All that decides a training's result, by name: settings, and digests of what is read."""
    found = {
        key: value
        for key, value in settings.flat().items()
        if key.startswith(("model.", "train.", "features.")) and key not in ELSEWHERE
    }
    found |= sides.digests()  # wherever the tables lie
    found["data"] = source.digest
    found["split"] = sha256_bytes(split.model_dump_json().encode())
    found["excluded domains"] = ",".join(sorted(exclude))
    return found


def every(text: str) -> tuple[int | None, float | None]:
    """Steps or seconds between two checkpoints, of `500` or `10m`.

    Raises:
        ConfigError: It is neither, or not above 0.
    """
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)m", text.strip())
    if found and found[1] and int(found[1]):
        return int(found[1]), None
    if found and found[2] and float(found[2]):
        return None, float(found[2]) * 60
    raise ConfigError(
        f"A checkpoint every {text!r} is not understood. Expected steps, such as "
        f"--checkpoint-every 500, or minutes, such as --checkpoint-every {EVERY}."
    )
