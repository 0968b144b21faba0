from __future__ import annotations

import torch
from torch import Tensor, nn

from lorarec.training.optimizers import RowAdagrad


def touch(parameter: nn.Parameter, rows: list[int], values: Tensor) -> None:
    parameter.grad = torch.sparse_coo_tensor(
        torch.tensor([rows]), values, parameter.shape, check_invariants=True
    )


def test_a_touched_row_follows_the_dense_reference_and_others_keep_every_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(5, 3, generator=generator))
    expected, total = ours.detach().clone(), torch.zeros(5)
    optimizer = RowAdagrad([ours], lr=0.1, weight_decay=0.2)
    for step in range(8):
        rows = [step % 2, 3]
        grad = torch.randn(2, 3, generator=generator)
        touch(ours, rows, grad)
        optimizer.step()
        for row, own in zip(rows, grad, strict=True):
            total[row] += own.square().mean()
            move = own / (total[row].sqrt() + 1e-10) + 0.2 * expected[row]
            expected[row] -= 0.1 * move
    torch.testing.assert_close(ours.detach(), expected)
    assert torch.equal(ours.detach()[[2, 4]], expected[[2, 4]])
    torch.testing.assert_close(optimizer.state[ours]["sum"], total)


def test_its_first_step_is_as_long_for_a_gradient_of_any_size() -> None:
    for size in (1e-3, 1e3):
        ours = nn.Parameter(torch.zeros(2, 4))
        touch(ours, [1], torch.full((1, 4), size))
        RowAdagrad([ours], lr=0.1).step()
        torch.testing.assert_close(ours.detach()[1], torch.full((4,), -0.1))


def test_duplicates_are_summed_before_they_are_squared() -> None:
    twice, once = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 3))
    grads = torch.tensor([[1.0, 2.0, 3.0], [4.0, -2.0, 1.0]])
    for parameter, rows, values in ((twice, [1, 1], grads), (once, [1], grads.sum(0, True))):
        optimizer = RowAdagrad([parameter], lr=0.1)
        for _ in range(3):
            touch(parameter, rows, values)
            optimizer.step()
    torch.testing.assert_close(twice, once)


def test_its_state_is_a_number_a_row() -> None:
    ours = nn.Parameter(torch.zeros(7, 64))
    optimizer = RowAdagrad([ours])
    touch(ours, [1], torch.ones(1, 64))
    optimizer.step()
    assert {name: tuple(t.shape) for name, t in optimizer.state[ours].items()} == {"sum": (7,)}
