"""Rescaling of imported vectors by powers of two: every ranking stays as it was, to the bit.

Scores ⟨u, i⟩ + b may be multiplied by any number above 0 without changing a ranking, and ⟨u, i⟩
stays the same where u is multiplied by a number and i divided by it. Where both numbers are powers
of two, float32 products and sums round as they did before, so that ties stay ties.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from lorarec.models.importing.factors import Factors
from lorarec.models.matrix_factorization import MatrixFactorization


def power_of_two(value: float) -> float:
    """The power of two that is nearest to a positive number, by its logarithm."""
    return 2.0 ** round(math.log2(value))


def scaled(factors: Factors, scale: float) -> Factors:
    """Factors whose scores are `scale` times as large.

    Args:
        factors: As imported.
        scale: A number above 0; a power of two keeps every rounding.
    """
    bias = factors.item_bias
    return replace(
        factors,
        users=factors.users * np.float32(scale),
        item_bias=None if bias is None else bias * np.float32(scale),
    )


def balanced(factors: Factors) -> Factors:
    """Factors of the same scores whose users and items are about equally long.

    A step of the optimiser moves a coordinate by about the learning rate, whatever its size. So
    that one learning rate fits both tables, their root mean squares are brought within a factor of
    two of each other.
    """
    lengths = [
        float(np.sqrt(np.mean(np.square(table, dtype=np.float64))))
        for table in (factors.users, factors.items)
    ]
    if min(lengths) == 0.0:
        return factors
    half = power_of_two(math.sqrt(lengths[1] / lengths[0]))
    return replace(
        factors,
        users=factors.users * np.float32(half),
        items=factors.items * np.float32(1 / half),
    )


def rescaled(factors: Factors, scale: float) -> MatrixFactorization:
    """A frozen model whose scores are `scale` times those of the factors, users and items even."""
    found = balanced(scaled(factors, scale))
    bias = found.item_bias
    return MatrixFactorization.from_tables(
        torch.from_numpy(found.users),
        torch.from_numpy(found.items),
        "dot",
        1.0,
        None if bias is None else torch.from_numpy(bias).unsqueeze(1),
    ).requires_grad_(False)
