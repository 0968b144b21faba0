"""Negatives from a domain's own catalogue, drawn by popularity, with their log probabilities."""

from __future__ import annotations

import torch
from torch import Tensor


class CatalogueSampler:
    """Draws items of one domain with probability q(i) ∝ count(i)^power, with replacement.

    Args:
        items: int64 (c,), sorted and distinct: the domain's catalogue.
        counts: float (c,): interactions of each item in train, above 0.
        power: 1 is popularity, 0 uniform.
    """

    def __init__(self, items: Tensor, counts: Tensor, power: float = 1.0) -> None:
        weights = counts.double().clamp(min=1e-12) ** power
        self.items = items
        self.counts = counts
        self.log_probability = (weights / weights.sum()).log().float()
        self._cumulative = (weights.cumsum(0) / weights.sum()).to(items.device)

    def __len__(self) -> int:
        return len(self.items)

    def places(self, items: Tensor) -> Tensor:
        """Places of catalogue items in `items`: int64 (n,) → int64 (n,)."""
        return torch.searchsorted(self.items, items)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Places of `count` drawn items, int64 (count,).

        By inverting the cumulative distribution: one uniform number and one binary search a draw.
        """
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        places = torch.searchsorted(self._cumulative, uniform.to(self._cumulative.device))
        return places.clamp(max=len(self.items) - 1)
