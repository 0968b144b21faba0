from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.training.hybrid import HybridOptimizer, clip_gradients
from lorarec.training.optimizers import RowAdagrad, RowAdam, coalesced


def table(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)))


def pair() -> dict[str, nn.Parameter]:
    return {"table": table(0), "layer": table(1)}


def backward(parameters: dict[str, nn.Parameter], seed: int, rows: list[int]) -> None:
    """A sparse gradient for the table, with the duplicates of `rows`, and a dense one beside it."""
    pull = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(seed))
    found = functional.embedding(torch.tensor(rows), parameters["table"], sparse=True)
    ((found * pull).sum() + (parameters["layer"] * pull.sum()).sum()).backward()


def train(optimizer: HybridOptimizer, parameters: dict[str, nn.Parameter], steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        backward(parameters, step, [1, step % 6, 1])
        optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_dense_layers_get_torch_s_adamw(decay: float) -> None:
    ours, theirs = pair(), pair()
    optimizer = HybridOptimizer(ours, lr=0.02, weight_decay=decay)
    reference = torch.optim.AdamW([theirs["layer"]], lr=0.02, weight_decay=decay)
    for step in range(10):
        for parameters in (ours, theirs):
            for parameter in parameters.values():
                parameter.grad = None
            backward(parameters, step, [0, 2])
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours["layer"], theirs["layer"])


@pytest.mark.parametrize(("name", "alone"), [("adam", RowAdam), ("adagrad", RowAdagrad)])
def test_tables_get_the_row_optimiser(name: Any, alone: Any) -> None:
    ours, theirs = pair(), pair()
    train(HybridOptimizer(ours, name, lr=0.02, weight_decay=0.1), ours, range(5))
    reference = alone([theirs["table"]], lr=0.02, weight_decay=0.1)
    for step in range(5):
        reference.zero_grad()
        backward(theirs, step, [1, step % 6, 1])
        reference.step()
    assert torch.equal(ours["table"], theirs["table"])


@pytest.mark.parametrize(("name", "alone"), [("adam", RowAdam), ("adagrad", RowAdagrad)])
def test_a_table_has_its_own_pulls(name: Any, alone: Any) -> None:
    ours, theirs, pulls = pair(), pair(), torch.linspace(0, 2, 6)
    train(HybridOptimizer(ours, name, lr=0.02, pulls={"table": pulls}), ours, range(5))
    reference = alone([{"params": [theirs["table"]], "pulls": pulls}], lr=0.02)
    for step in range(5):
        reference.zero_grad()
        backward(theirs, step, [1, step % 6, 1])
        reference.step()
    assert torch.equal(ours["table"], theirs["table"])
    plain = pair()
    train(HybridOptimizer(plain, name, lr=0.02), plain, range(5))
    assert not torch.equal(ours["table"], plain["table"])


@pytest.mark.parametrize("name", ["adam", "adagrad"])
def test_its_state_goes_on_to_the_same_bits(name: Any) -> None:
    straight, broken = pair(), pair()
    train(HybridOptimizer(straight, name, lr=0.02), straight, range(6))
    first = HybridOptimizer(broken, name, lr=0.02)
    train(first, broken, range(3))
    again = HybridOptimizer(broken, name, lr=0.02)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    train(again, broken, range(3, 6))
    assert torch.equal(straight["table"], broken["table"])
    assert torch.equal(straight["layer"], broken["layer"])


def test_a_scale_of_the_schedule_is_a_smaller_step() -> None:
    whole, half = pair(), pair()
    for parameters, scale in ((whole, 1.0), (half, 0.5)):
        backward(parameters, 0, [1])
        HybridOptimizer(parameters, lr=0.1).step(scale)
    for name in whole:
        moved = [(p[name] - pair()[name]).detach()[1] for p in (whole, half)]
        torch.testing.assert_close(moved[0], 2 * moved[1], rtol=1e-4, atol=1e-6)


def test_a_rate_is_a_share_of_the_step_for_names_that_begin_so() -> None:
    moved = {}
    for rates in ({}, {"lay": 0.1, "layer": 7.0}, {"table": 0.25}):
        parameters = pair()
        optimizer = HybridOptimizer(parameters, lr=0.1, rates=rates)
        backward(parameters, 0, [1])
        optimizer.step(0.5)
        moved[str(rates)] = [(parameters[n] - pair()[n]).detach()[1] for n in ("table", "layer")]
    (table, layer), slow_layer, slow_table = moved.values()
    torch.testing.assert_close(slow_layer, [table, 0.1 * layer], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(slow_table, [0.25 * table, layer], rtol=1e-3, atol=1e-6)


def dense_norm(parameters: dict[str, nn.Parameter]) -> Tensor:
    grads = [p.grad.to_dense() for p in parameters.values() if p.grad is not None]
    return torch.cat([grad.flatten() for grad in grads]).norm()


def test_clipping_is_torch_s_with_sparse_gradients_and_duplicates() -> None:
    ours, theirs = pair(), pair()
    backward(ours, 0, [1, 4, 1])
    backward(theirs, 0, [1, 4, 1])
    for parameter in theirs.values():
        assert parameter.grad is not None
        parameter.grad = parameter.grad.to_dense()
    expected = nn.utils.clip_grad_norm_(theirs.values(), 0.5)
    assert float(clip_gradients(ours.values(), 0.5)) == pytest.approx(float(expected))
    assert float(dense_norm(ours)) == pytest.approx(0.5, rel=1e-4)
    for name, parameter in ours.items():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.to_dense(), theirs[name].grad, rtol=1e-4, atol=0)


def test_a_small_gradient_is_not_clipped() -> None:
    parameters = pair()
    backward(parameters, 0, [1, 4])
    before = dense_norm(parameters)
    clip_gradients(parameters.values(), 1e6)
    assert torch.equal(dense_norm(parameters), before)


@pytest.mark.parametrize("rows", [[1, 3, 4], [3, 1, 4], [1, 3, 3]], ids=["sorted", "not", "twice"])
def test_coalescing_is_torch_s(rows: list[int]) -> None:
    parameter = table()
    functional.embedding(torch.tensor(rows), parameter, sparse=True).square().sum().backward()
    assert parameter.grad is not None
    found, values = coalesced(parameter.grad)
    expected = parameter.grad.coalesce()
    assert torch.equal(found, expected.indices()[0])
    assert torch.equal(values, expected.values())


@pytest.mark.parametrize("make", [RowAdam, RowAdagrad])
def test_a_row_optimiser_refuses_a_dense_gradient(make: Any) -> None:
    parameter = table()
    parameter.grad = torch.ones(6, 3)
    with pytest.raises(TypeError, match="is dense"):
        make([parameter]).step()
