"""A temperature that is trained with the model it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lorarec.models.base import BaseModel

SHARPEST = 0.01
"""The smallest τ that training may reach."""


def temperature_of(model: BaseModel) -> float:
    """τ by which a model divides its cosines; 1 for a dot product."""
    return model.temperature if model.similarity == "cosine" else 1.0


class LearntTemperature:
    """τ = τ₀ · exp(-θ) of models that share one; θ starts at 0 and is trained.

    The logarithm keeps τ above 0, and scores are capped at 1/0.01, both as in Radford et al. 2021
    ("Learning Transferable Visual Models From Natural Language Supervision"). The models go on to
    divide by τ₀, and training multiplies by exp(θ), until `applied` or `settle` gives them τ.

    Args:
        models: All with the same temperature τ₀.
        device: Where θ lives.
    """

    def __init__(self, models: Iterable[BaseModel], device: str = "cpu") -> None:
        self._models = list(models)
        self._start = temperature_of(self._models[0])
        self.theta = nn.Parameter(torch.zeros((), device=device))

    def scaled(self, users: Tensor) -> Tensor:
        """User vectors over τ instead of τ₀: float (n, d)."""
        return users * self.theta.clamp(max=math.log(self._start / SHARPEST)).exp()

    @property
    def value(self) -> float:
        """τ as it stands."""
        return max(self._start * math.exp(-float(self.theta.detach())), SHARPEST)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the models score with τ."""
        try:
            self.settle()
            yield
        finally:
            for model in self._models:
                model.temperature = self._start

    def settle(self) -> None:
        """Give the models τ for good."""
        for model in self._models:
            model.temperature = self.value
