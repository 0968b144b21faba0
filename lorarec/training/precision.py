"""In which numbers a batch is computed, and what to do where it does not fit into memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

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
