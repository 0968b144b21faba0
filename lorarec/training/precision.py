"""In which numbers a batch is computed, and what to do where it does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from lorarec.errors import TrainingError

Precision = Literal["auto", "float32", "bfloat16"]


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """A block whose matrix products are in bfloat16, or in float32 as they stand.

    Weights, gradients of tables and optimiser state stay float32 in any case.

    Args:
        precision: `auto` is bfloat16 on a GPU that has it, and float32 elsewhere.
        device: Such as `cpu` or `cuda:1`.
    """
    kind = device.partition(":")[0]
    if precision == "auto":
        has = kind == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if has else "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(kind, dtype=torch.bfloat16)


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU's allocator, said that there is no room."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def no_room(rows: int, device: object) -> TrainingError:
    """What a training with tables in shards ends with where memory runs out.

    Its ranks wait for each other's rows within a batch, so a batch is not broken off and halved.
    """
    return TrainingError(
        f"Out of memory on {device} with {rows:,} rows a step, which is not halved with "
        f"--shard-tables. Expected room beside the rank's rows; lower train.batch_size or "
        f"train.negatives, or start more ranks."
    )


def no_state_room(parameters: Iterable[Tensor], device: object) -> TrainingError:
    """What a training ends with whose optimiser finds no room for its state."""
    size = sum(p.numel() * p.element_size() for p in parameters)
    return TrainingError(
        f"The optimiser's state does not fit into the memory of {device}: the parameters take "
        f"{size / 1e9:.2f} GB and Adam twice that besides. Expected room; use --set "
        f"train.optimizer=adagrad, whose state is a number a row, a smaller dimension, or "
        f"--device cpu."
    )
