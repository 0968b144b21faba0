"""Checkpoints of a training in a folder: the newest one, whole, and refused for other settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lorarec.errors import ConfigError, StoreError
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import read_tensors, refused, write_tensors
from lorarec.training.distributed import ALONE, Ranks
from lorarec.training.sharding import TOGETHER, Shard, Spread

RECORD = "checkpoint.json"
PATTERNS = ("checkpoint-*.safetensors", ".checkpoint*.tmp")
"""Tensors, and what a process that was killed while writing left beside them."""
Setting = str | int | float | bool


class State(Record):
    """How far a training is, besides its tensors."""

    step: int = Field(ge=0)
    """Steps taken."""
    epoch: int = Field(ge=1)
    """The epoch in progress, or the next where `batch` is 0."""
    batch: int = Field(ge=0)
    """Batches of it that are done."""
    batch_size: int = Field(ge=1)
    """Rows a step; less than asked for where memory ran out."""
    loss: float
    """Sum of the epoch's losses by row."""
    rows: int = Field(ge=0)
    """Rows of the epoch that are done."""
    first_loss: float | None
    """Of the first step."""
    waited: int = Field(ge=0)
    """Validations without a better one."""
    averaged: int = Field(ge=0)
    """Epochs in the average."""
    epochs: list[dict[str, float]]
    """Metrics by epoch."""
    best_epoch: int
    best: float
    seconds: float
    """Of all sittings together."""


class ShardFile(Record):
    """What one rank holds of the tables that lie in shards."""

    name: str
    """Of the file."""
    digest: str
    """SHA-256 of it."""


class CheckpointInfo(Record):
    """The JSON beside the tensors."""

    format_version: int = FORMAT
    weights: str
    """Name of the file with the tensors."""
    weights_digest: str
    """SHA-256 of it."""
    config: dict[str, Setting]
    """All that decides the result."""
    state: State
    shards: list[ShardFile] = Field(default_factory=list)
    """By rank; none where no table lies in shards."""
    tables: dict[str, int] = Field(default_factory=dict)
    """Rows of each table that lies in shards, by the name of its parameter."""
    later: ClassVar[frozenset[str]] = frozenset({"shards", "tables"})


@dataclass
class Checkpoints:
    """A folder that holds the newest checkpoint of one training.

    The tensors go into a new file first and the JSON that names them is renamed into place after,
    so that a process killed at any moment leaves the checkpoint before or this one, whole. Where
    tables lie in shards every rank writes its own into a file, and the JSON names all of them; any
    other number of ranks, or one that holds all, can go on from it.
    """

    folder: Path
    config: Mapping[str, Setting]
    """All that decides the result; a checkpoint with anything else is refused."""
    every_steps: int | None = None
    every_seconds: float | None = None
    resume: bool = False
    """Go on from the checkpoint that is there; without one, from the start."""
    stop: Callable[[], bool] = lambda: False
    """Asked after each step: whether to save and end."""
    writes: bool = True
    """False on all ranks but the first of several: they read, and leave writing to it."""
    saved_step: int | None = None
    """Of the newest checkpoint that this training wrote or began with."""
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    def open(self) -> None:
        """Check the folder before anything is trained.

        Raises:
            StoreError: It holds a checkpoint and `resume` was not asked for.
            ConfigError: Its checkpoint is of other settings; those that differ are named.
            ArtifactError: Its checkpoint was edited or damaged.
        """
        if not (self.folder / RECORD).exists():
            return
        if not self.resume:
            raise StoreError(
                f"{self.folder} holds the checkpoint of a training that did not end. Expected an "
                f"empty folder; go on from it with --resume, or choose another with --checkpoint."
            )
        self._info()

    @property
    def there(self) -> int | None:
        """The step of the checkpoint in the folder; None where there is none."""
        return self._info().state.step if (self.folder / RECORD).exists() else None

    def due(self, step: int) -> bool:
        """Whether to save after this step; for a rank that does not write, the first one says."""
        steps = self.every_steps is not None and step % self.every_steps == 0
        late = time.monotonic() - self._saved_at
        return self.writes and (
            steps or (self.every_seconds is not None and late >= self.every_seconds)
        )

    def save(
        self,
        tensors: Mapping[str, Tensor],
        state: State,
        spread: Spread = TOGETHER,
        ranks: Ranks = ALONE,
    ) -> None:
        """Replace the checkpoint.

        Args:
            tensors: By name; those of tables in shards are this rank's rows.
            state: The rest.
            spread: Which tables lie in shards.
            ranks: All must call this.

        Raises:
            StoreError: The disk refused, or ranks do not write to the same folder; the checkpoint
                before stays.
        """
        made = f"checkpoint-{state.step:010d}-{time.time_ns():x}"
        common = {name: t for name, t in tensors.items() if spread.table_of(name) is None}
        shards: list[ShardFile] = []
        if spread.rows:
            own = {name: t for name, t in tensors.items() if name not in common}
            name = f"{made}-{ranks.rank}of{ranks.size}.safetensors"
            shards = [ShardFile(**found) for found in ranks.each(self._written(name, own))]
        if not self.writes:
            self.saved_step = state.step
            return
        for rank, shard in enumerate(shards):
            if not (self.folder / shard.name).exists():
                raise StoreError(
                    f"{self.folder} has no {shard.name}, which rank {rank} wrote to a folder of "
                    f"that name. Expected one folder that all machines share; give --checkpoint "
                    f"a path on a shared disk."
                )
        found = self._written(f"{made}.safetensors", common)
        info = CheckpointInfo(
            weights=found["name"],
            weights_digest=found["digest"],
            config=dict(self.config),
            state=state,
            shards=shards,
            tables=dict(spread.rows),
        )
        save_record(self.folder / RECORD, info)
        self._sweep({info.weights, *(shard.name for shard in shards)})
        self.saved_step, self._saved_at = state.step, time.monotonic()

    def load(self, spread: Spread = TOGETHER) -> tuple[dict[str, Tensor], State] | None:
        """The checkpoint, or None where there is none or `resume` was not asked for.

        Args:
            spread: Which tables lie in shards, and which of their rows are wanted; it need not be
                as it was when the checkpoint was saved.

        Raises:
            ConfigError, ArtifactError: As `open`.
        """
        if not self.resume or not (self.folder / RECORD).exists():
            return None
        info = self._info()
        tensors = self._read(info.weights, info.weights_digest)
        for name in tensors:
            if spread.table_of(name) is not None:
                tensors[name] = spread.shard.of(tensors[name]).contiguous()
        tensors |= self._own_rows(info, spread.shard)
        self.saved_step = info.state.step
        return tensors, info.state

    def _own_rows(self, info: CheckpointInfo, own: Shard) -> dict[str, Tensor]:
        """What a checkpoint has in shards, as far as it is wanted here."""
        parts: dict[str, dict[Shard, Tensor]] = {}
        for rank, file in enumerate(info.shards):
            shard = Shard(rank, len(info.shards))
            if own.meets(shard):
                for name, part in self._read(file.name, file.digest).items():
                    parts.setdefault(name, {})[shard] = part
        saved = Spread(info.tables)
        rows = {name: info.tables[saved.table_of(name) or ""] for name in parts}
        return {name: own.taken(found, rows[name]) for name, found in parts.items()}

    def _written(self, name: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        arrays = {key: _array(tensor) for key, tensor in tensors.items()}
        return {"name": name, "digest": write_tensors(self.folder / name, arrays)}

    def _read(self, name: str, digest: str) -> dict[str, Tensor]:
        arrays = read_tensors(self.folder / name, digest)
        return {key: torch.from_numpy(array) for key, array in arrays.items()}

    def remove(self) -> None:
        """Delete the checkpoint: its training has ended and what it made is kept elsewhere."""
        if not self.writes:
            return
        try:
            (self.folder / RECORD).unlink(missing_ok=True)
        except OSError as error:
            raise refused(self.folder / RECORD, error) from error
        self._sweep(set())

    @property
    def last_good(self) -> str:
        """Where to go on from after a training that went wrong, as a sentence."""
        if self.saved_step is None:
            return "No checkpoint was written before."
        return f"The last good checkpoint is of step {self.saved_step}, in {self.folder}."

    def _sweep(self, keep: Set[str]) -> None:
        """Remove what no record names, whatever a process that was killed left included."""
        for pattern in PATTERNS:
            for file in self.folder.glob(pattern):
                if file.name not in keep:
                    file.unlink(missing_ok=True)

    def _info(self) -> CheckpointInfo:
        info = load_record(self.folder / RECORD, CheckpointInfo)
        if (found := differences(self.config, info.config)) is not None:
            raise ConfigError(
                f"The checkpoint in {self.folder} is of a training with other settings {found}. "
                f"Expected the same; set them back, or begin anew in another folder with "
                f"--checkpoint."
            )
        return info


def differences(ours: Mapping[str, Setting], theirs: Mapping[str, Setting]) -> str | None:
    """How many settings differ and the first five of them, for a sentence; None where none does.

    Args:
        ours: What this command was told.
        theirs: What the recorded work was.
    """
    keys = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    if not keys:
        return None
    shown = "; ".join(
        f"{key} is {ours.get(key)!r} here and {theirs.get(key)!r} there" for key in keys[:5]
    )
    return f"({len(keys)} differ): {shown}"


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
