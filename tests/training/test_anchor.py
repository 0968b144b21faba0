"""The proximal term: what it pulls, how far, and what it leaves alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lorarec.training.anchor import Anchor
from lorarec.training.hybrid import HybridOptimizer

RATE = 0.1


def step(parameter: nn.Parameter, anchor: Anchor | None, rows: list[int] | None = None) -> None:
    """One step with a gradient of zero: of some rows of a table, or of a dense parameter."""
    anchors = {} if anchor is None else {"w": anchor}
    optimizer = HybridOptimizer({"w": parameter}, lr=RATE, anchors=anchors)
    if rows is None:
        loss = (parameter * 0.0).sum()
    else:
        loss = (functional.embedding(torch.tensor(rows), parameter, sparse=True) * 0.0).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def test_a_row_of_the_batch_goes_a_share_of_the_way_back_and_no_other_moves() -> None:
    start = torch.zeros(4, 3)
    table = nn.Parameter(torch.ones(4, 3))
    step(table, Anchor(start, torch.full((4,), 2.0)), [1, 1, 3])
    expected = torch.ones(4, 3)
    expected[[1, 3]] = 1 - RATE * 2.0
    assert torch.allclose(table.detach(), expected)


def test_each_row_has_a_strength_of_its_own() -> None:
    table = nn.Parameter(torch.ones(3, 2))
    step(table, Anchor(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 5.0])), [0, 1, 2])
    assert torch.allclose(table.detach()[:, 0], torch.tensor([1.0, 0.9, 0.5]))


def test_a_dense_parameter_is_pulled_too() -> None:
    matrix = nn.Parameter(torch.full((2, 3), 4.0))
    step(matrix, Anchor(torch.full((2, 3), 2.0), torch.ones(2)))
    assert torch.allclose(matrix.detach(), torch.full((2, 3), 4.0 - RATE * 2.0))


def test_without_an_anchor_nothing_moves() -> None:
    table = nn.Parameter(torch.ones(4, 3))
    step(table, None, [1, 3])
    assert torch.equal(table.detach(), torch.ones(4, 3))
