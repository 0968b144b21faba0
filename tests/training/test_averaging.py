"""The running average of weights: what it is, and that training goes on without it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lorarec.training.averaging import WeightAverage


def _epochs(newest: float, *values: float) -> tuple[nn.Parameter, WeightAverage]:
    parameter = nn.Parameter(torch.zeros(2))
    average = WeightAverage({"w": parameter}, newest)
    for value in values:
        with torch.no_grad():
            parameter.fill_(value)
        average.update()
    return parameter, average


def test_the_first_epochs_are_averaged_plainly() -> None:
    parameter, average = _epochs(0.1, 1.0, 2.0, 6.0)
    with average.applied():
        assert torch.allclose(parameter, torch.full((2,), 3.0))


def test_later_epochs_weigh_as_asked() -> None:
    parameter, average = _epochs(0.5, 0.0, 0.0, 8.0)
    with average.applied():
        assert torch.allclose(parameter, torch.full((2,), 4.0))


def test_no_averaging_keeps_the_epoch_itself() -> None:
    parameter, average = _epochs(1.0, 1.0, 5.0)
    with average.applied():
        assert torch.equal(parameter, torch.full((2,), 5.0))


def test_training_goes_on_from_what_it_had() -> None:
    parameter, average = _epochs(0.5, 1.0, 3.0)
    with average.applied():
        pass
    assert torch.equal(parameter, torch.full((2,), 3.0))


def test_the_weights_come_back_when_validation_fails() -> None:
    parameter, average = _epochs(0.5, 1.0, 3.0)
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert torch.equal(parameter, torch.full((2,), 3.0))
