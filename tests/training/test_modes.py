"""Dropout is on while an epoch trains, and what it draws depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from lorarec.data.interactions import Interactions
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import examples_of
from lorarec.training.loop import Options, fit
from lorarec.training.modes import training


def dropped(seed: int, epoch: int) -> torch.Tensor:
    layer = nn.Dropout(0.5).eval()
    with training([layer], seed, epoch):
        found: torch.Tensor = layer(torch.ones(40))
    assert bool(layer(torch.ones(40)).all())
    return found


def test_draws_follow_seed_and_epoch_and_leave_no_trace() -> None:
    before = torch.get_rng_state()
    first = dropped(0, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(dropped(0, 1), first)
    assert not torch.equal(dropped(0, 2), first)
    assert not torch.equal(dropped(1, 1), first)


def test_a_parameter_moves_by_its_own_share_of_the_step(
    indexed: Callable[..., Interactions],
) -> None:
    rows = [f"{user} {item} d train" for user in range(12) for item in range(user % 3, 12, 3)]
    examples = examples_of(indexed(rows, 12, 12), ["d"])
    moved = {}
    for rate in (1.0, 0.1):
        model = MatrixFactorization.create(12, 12, 4, seed=1)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        options = Options(1, 10_000, 64, 0.01, rates={"items": rate})
        fit({"d": model}, dict(model.named_parameters()), examples, options, dict)
        moved[rate] = {
            name: float((parameter.detach() - before[name]).abs().max())
            for name, parameter in model.named_parameters()
        }
    assert moved[0.1]["users.weight"] > 0.9 * moved[1.0]["users.weight"]
    assert moved[0.1]["items.weight"] < 0.3 * moved[1.0]["items.weight"]
