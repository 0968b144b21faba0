"""How far vectors have moved from one model to another over the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 65_536
"""Rows at a time, so that memory stays bounded."""
Vectors = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Drift:
    """|v' - v| / |v| over some rows: 0 where nothing moved, to the bit."""

    rows: int
    mean: float
    largest: float


@torch.no_grad()
def drift(before: Vectors, after: Vectors, rows: Tensor) -> Drift:
    """Drift of vectors of rows.

    Args:
        before: int64 (n,) → float32 (n, d).
        after: The same of the model that it became.
        rows: int64 (n,).
    """
    total, largest = 0.0, 0.0
    for part in torch.split(rows, BLOCK):
        was, now = before(part), after(part)
        moved = (now - was).norm(dim=1).double() / was.norm(dim=1).clamp(min=1e-12)
        total += float(moved.sum())
        largest = max(largest, float(moved.max()) if len(moved) else 0.0)
    return Drift(len(rows), total / len(rows) if len(rows) else 0.0, largest)
