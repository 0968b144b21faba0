"""When a model trains and when it is asked: dropout is on for the batches of an epoch alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def training(models: Iterable[nn.Module], seed: int, epoch: int) -> Iterator[None]:
    """Inside the block the models drop what they drop, drawn by seed and epoch alone.

    Dropout draws from the generator that all of torch shares, which is left as it was found.
    """
    models = list(models)
    with torch.random.fork_rng():
        torch.manual_seed((seed + 1) * 1_000_003 + epoch)
        try:
            for model in models:
                model.train()
            yield
        finally:
            for model in models:
                model.eval()
