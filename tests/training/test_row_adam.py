from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.training.optimizers import RowAdam


def table(rows: int = 6, dim: int = 3) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, dim, generator=torch.Generator().manual_seed(0)))


def touch(parameter: nn.Parameter, rows: list[int], values: Tensor) -> None:
    """Give a parameter a sparse gradient, duplicates and all."""
    parameter.grad = torch.sparse_coo_tensor(
        torch.tensor([rows]), values, parameter.shape, check_invariants=True
    )


def gradients(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def run(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, grads: list[Tensor]) -> Tensor:
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
    return parameter.detach()


def test_a_sparse_gradient_of_every_row_gets_torch_s_adam() -> None:
    ours, theirs = table(), table()
    optimizer = RowAdam([ours], lr=0.02)
    grads = gradients(20, 6, 3)
    for grad in grads:
        touch(ours, list(range(6)), grad)
        optimizer.step()
    expected = run(torch.optim.Adam([theirs], lr=0.02), theirs, grads)
    torch.testing.assert_close(ours.detach(), expected)


def test_a_row_follows_adam_over_its_own_gradients_alone() -> None:
    ours = table()
    theirs = nn.Parameter(ours.detach()[2].clone())
    optimizer = RowAdam([ours], lr=0.02)
    grads = gradients(30, 3)
    own = [grad for step, grad in enumerate(grads) if step % 3 == 0]
    for step, grad in enumerate(grads):
        touch(ours, [2 if step % 3 == 0 else 4], grad.unsqueeze(0))
        optimizer.step()
    expected = run(torch.optim.Adam([theirs], lr=0.02), theirs, own)
    torch.testing.assert_close(ours.detach()[2], expected)


def test_the_first_step_of_a_row_at_step_1000_is_as_large_as_at_step_1() -> None:
    late, early = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 3))
    grad = torch.tensor([[0.3, -2.0, 1e-3]])
    optimizer = RowAdam([late], lr=0.01)
    for _ in range(999):
        touch(late, [0], grad)
        optimizer.step()
    touch(late, [1], grad)
    optimizer.step()
    touch(early, [1], grad)
    RowAdam([early], lr=0.01).step()
    assert torch.equal(late.detach()[1], early.detach()[1])
    torch.testing.assert_close(late.detach()[1], -0.01 * grad[0].sign(), rtol=1e-3, atol=0)


def test_rows_do_not_drift_after_their_last_touch() -> None:
    ours = table()
    optimizer = RowAdam([ours], lr=0.05)
    touch(ours, [1], torch.ones(1, 3))
    optimizer.step()
    after = ours.detach()[1].clone()
    for _ in range(20):
        touch(ours, [4], torch.ones(1, 3))
        optimizer.step()
    assert torch.equal(ours.detach()[1], after)


def test_rows_that_were_never_touched_keep_every_bit() -> None:
    ours = table()
    before = ours.detach().clone()
    optimizer = RowAdam([ours], lr=0.05, weight_decay=0.5)
    for grad in gradients(10, 2, 3):
        touch(ours, [1, 4], grad)
        optimizer.step()
    others = [0, 2, 3, 5]
    assert torch.equal(ours.detach()[others], before[others])
    assert (ours.detach()[[1, 4]] != before[[1, 4]]).all()


def test_duplicates_in_a_batch_are_one_step_of_their_sum() -> None:
    twice, once = table(), table()
    optimizers = RowAdam([twice], lr=0.02), RowAdam([once], lr=0.02)
    for first, second in zip(gradients(5, 1, 3), gradients(10, 1, 3)[5:], strict=True):
        touch(twice, [2, 2], torch.cat([first, second]))
        touch(once, [2], first + second)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(twice.detach(), once.detach())
    assert float(optimizers[0].state[twice]["step"][2]) == 5


def test_state_rows_outside_the_batch_are_untouched() -> None:
    ours = table()
    optimizer = RowAdam([ours], lr=0.02)
    touch(ours, [0, 3], torch.ones(2, 3))
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer.state[ours].items()}
    touch(ours, [3, 5], torch.ones(2, 3))
    optimizer.step()
    others = [0, 1, 2, 4]
    for name, value in optimizer.state[ours].items():
        assert torch.equal(value[others], before[name][others])
    assert optimizer.state[ours]["step"].tolist() == [1, 0, 0, 2, 0, 1]


def test_weight_decay_pulls_touched_rows_alone() -> None:
    ours = nn.Parameter(torch.ones(4, 3))
    optimizer = RowAdam([ours], lr=0.1, weight_decay=0.5)
    touch(ours, [2], torch.zeros(1, 3))
    optimizer.step()
    expected = torch.ones(4, 3)
    expected[2] -= 0.1 * 0.5
    torch.testing.assert_close(ours.detach(), expected)


def test_weight_decay_is_decoupled_from_the_moments() -> None:
    plain, decayed = table(), table()
    for parameter, decay in ((plain, 0.0), (decayed, 0.3)):
        optimizer = RowAdam([parameter], lr=0.1, weight_decay=decay)
        touch(parameter, [1], torch.ones(1, 3))
        optimizer.step()
    start = table().detach()
    torch.testing.assert_close(decayed.detach()[1], plain.detach()[1] - 0.1 * 0.3 * start[1])


def test_a_pull_of_each_row_adds_to_the_decay_of_touched_rows() -> None:
    ours = nn.Parameter(torch.ones(4, 3))
    group = {"params": [ours], "pulls": torch.tensor([9.0, 2.0, 0.5, 9.0])}
    optimizer = RowAdam([group], lr=0.1, weight_decay=0.5)
    touch(ours, [1, 2], torch.zeros(2, 3))
    optimizer.step()
    expected = torch.ones(4, 3)
    expected[1] -= 0.1 * (0.5 + 2.0)
    expected[2] -= 0.1 * (0.5 + 0.5)
    torch.testing.assert_close(ours.detach(), expected)


def test_the_strongest_pull_takes_a_row_to_zero_and_not_past_it() -> None:
    ours = nn.Parameter(torch.ones(2, 3))
    optimizer = RowAdam([{"params": [ours], "pulls": torch.tensor([1e6, 0.0])}], lr=0.1)
    touch(ours, [0], torch.zeros(1, 3))
    optimizer.step()
    torch.testing.assert_close(ours.detach()[0], torch.zeros(3))


def test_an_empty_gradient_moves_nothing() -> None:
    ours = table()
    before = ours.detach().clone()
    optimizer = RowAdam([ours], lr=0.1, weight_decay=0.3)
    touch(ours, [], torch.empty(0, 3))
    optimizer.step()
    assert torch.equal(ours.detach(), before)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    ours, other = table(), table()
    optimizer = RowAdam([ours, other], lr=0.1, weight_decay=0.3)
    touch(ours, [0], torch.ones(1, 3))
    optimizer.step()
    assert torch.equal(other, table())
    assert other not in optimizer.state


def test_a_group_has_its_own_learning_rate() -> None:
    slow, fast = table(), table()
    groups: list[dict[str, Any]] = [{"params": [slow]}, {"params": [fast], "lr": 0.1}]
    optimizer = RowAdam(groups, lr=0.01)
    for parameter in (slow, fast):
        touch(parameter, [0], torch.ones(1, 3))
    optimizer.step()
    moved = [(p.detach()[0] - table().detach()[0]).norm() for p in (slow, fast)]
    assert float(moved[1] / moved[0]) == pytest.approx(10, rel=1e-4)


def test_the_per_row_step_count_survives_a_checkpoint() -> None:
    ours = table()
    optimizer = RowAdam([ours], lr=0.02)
    for grad in gradients(5, 1, 3):
        touch(ours, [2], grad)
        optimizer.step()
    resumed = nn.Parameter(ours.detach().clone())
    again = RowAdam([resumed], lr=0.5)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.state[resumed]["step"].tolist() == [0, 0, 5, 0, 0, 0]
    for parameter, each in ((ours, optimizer), (resumed, again)):
        touch(parameter, [2, 3], torch.ones(2, 3))
        each.step()
    assert torch.equal(ours, resumed)


def test_a_closure_can_take_gradients() -> None:
    ours = table()
    optimizer = RowAdam([ours], lr=0.02)

    def closure() -> float:
        rows = torch.arange(6)
        loss = functional.embedding(rows, ours, sparse=True).square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == pytest.approx(float(table().detach().square().sum()))
    assert not torch.equal(ours, table())
