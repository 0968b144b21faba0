"""A running average of the weights: it is validated and kept, while training goes on without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential average over epochs of some parameters.

        avg_1 = w_1,   avg_t = avg_(t-1) + max(1/t, newest) · (w_t - avg_(t-1))

    The plain mean at first and an exponential one from epoch 1/newest on. Rows of a table see few
    batches an epoch, and each leaves noise; the mean of several epochs has less of it than any of
    them (Polyak and Juditsky 1992; over epochs as Izmailov et al. 2018). One pass over the trained
    parameters an epoch.

    Args:
        parameters: By name; read and, inside `applied`, written.
        newest: Weight of the newest epoch, above 0 to 1; 1 is no averaging.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], newest: float) -> None:
        self._parameters = parameters
        self._newest = newest
        self.epochs = 0
        """Taken in so far."""
        self.values: dict[str, Tensor] = {}
        """The average, by name; empty before the first epoch."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are at the end of an epoch."""
        self.epochs += 1
        if self._newest == 1.0:
            return  # the average is what the parameters hold
        weight = max(1 / self.epochs, self._newest)
        for name, parameter in self._parameters.items():
            if name in self.values:
                self.values[name].lerp_(parameter, weight)
            else:
                self.values[name] = parameter.detach().clone()

    def restore(self, values: Mapping[str, Tensor], epochs: int) -> None:
        """Go on from an average over so many epochs."""
        self.values, self.epochs = dict(values), epochs

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the parameters hold their averages; after it, what they held before."""
        if not self.values:
            yield
            return
        held = {name: p.detach().clone() for name, p in self._parameters.items()}
        try:
            self._write(self.values)
            yield
        finally:
            self._write(held)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)
