from __future__ import annotations

from typing import Any

import pytest
import torch
from random_adapters import DIM, ITEMS, USERS, adapter_of, as_towers

from lorarec.errors import AdapterMismatchError
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.config import lora_config
from lorarec.lora.stacked import grouped, stacked, unstacked
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel

TARGETS = ("users:2,items:3,transform:2,bias", "items:2", "users:1,transform:1,bias")


def domain(base: Base, number: int, targets: str) -> BaseModel:
    """Other rows and other grown ones for each domain, every number random."""
    generator = torch.Generator().manual_seed(number)
    rows = [torch.randperm(n, generator=generator)[:3].sort().values for n in (USERS, ITEMS)]
    grown = [torch.randn(count, DIM, generator=generator) for count in (number, 2 - number)]
    bias = torch.cat([rows[1], torch.arange(ITEMS, ITEMS + len(grown[1]))])
    touched = Touched(rows[0], rows[1], grown[0], grown[1], bias)
    model = attach(base.model, lora_config(2, DIM, targets, alpha=1.5), touched)
    for name, tensor in adapter_state(model).items():
        if not name.endswith("rows"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    if "bias" not in targets:
        adapter_state(model)["bias.cold"].zero_()  # as without any β it always is
    return model


def pairs_of(models: list[BaseModel]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Every pair of each domain, grown users and items included."""
    found = [
        torch.cartesian_prod(torch.arange(len(m.users)), torch.arange(len(m.items)))  # type: ignore[arg-type]
        for m in models
    ]
    return [(pairs[:, 0], pairs[:, 1]) for pairs in found]


def keyed(stack: BaseModel, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    strides: list[Any] = [stack.users.stride, stack.items.stride]
    return [
        torch.cat([part[side] + k * stride for k, part in enumerate(pairs)])
        for side, stride in enumerate(strides)
    ]


@pytest.mark.parametrize("targets", TARGETS)
def test_a_mixed_batch_in_any_order_scores_as_each_adapter_alone(base: Base, targets: str) -> None:
    models = [domain(base, number, targets) for number in range(3)]
    pairs = pairs_of(models)
    alone = torch.cat([m.score(*own) for m, own in zip(models, pairs, strict=True)])
    stack = stacked(models)
    users, items = keyed(stack, pairs)
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(stack.score(users[order], items[order]), alone[order])


@pytest.mark.parametrize("targets", TARGETS)
def test_its_gradients_are_those_of_each_adapter_alone(base: Base, targets: str) -> None:
    models = [domain(base, number, targets) for number in range(3)]
    stack = stacked(models)
    pairs = pairs_of(models)
    rate = 0.1
    for model, own in zip(models, pairs, strict=True):
        model.score(*own).square().sum().backward()  # type: ignore[no-untyped-call]
        torch.optim.SGD(model.parameters(), lr=rate).step()
    stack.score(*keyed(stack, pairs)).square().sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(stack.parameters(), lr=rate).step()
    expected = [{n: t.clone() for n, t in adapter_state(model).items()} for model in models]
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
    unstacked(stack, models)
    for model, state in zip(models, expected, strict=True):
        for name, tensor in adapter_state(model).items():
            torch.testing.assert_close(tensor, state[name], msg=lambda text, n=name: f"{n}: {text}")


def test_domains_that_a_batch_lacks_have_no_gradient(base: Base) -> None:
    stack = stacked([domain(base, number, TARGETS[0]) for number in range(3)])
    rows = torch.arange(3) + stack.users.stride, torch.arange(3) + stack.items.stride  # type: ignore[index]
    stack.score(*rows).sum().backward()  # type: ignore[no-untyped-call]
    for name in ("users.b", "items.b", "items.p", "items.q"):
        grad = stack.get_parameter(name).grad
        assert grad is not None
        assert grad.coalesce().indices().tolist() == [[1]]


def test_a_stack_leaves_base_and_adapters_as_they_were(base: Base) -> None:
    models = [domain(base, number, TARGETS[0]) for number in range(2)]
    before = [{n: t.clone() for n, t in adapter_state(model).items()} for model in models]
    stack = stacked(models)
    for parameter in stack.parameters():
        torch.nn.init.zeros_(parameter)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(tensor, state[n]) for n, tensor in adapter_state(model).items())
    assert not {id(p) for p in stack.parameters()} & {id(p) for p in base.model.parameters()}


def test_grouped_is_each_row_times_the_matrix_of_its_domain() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(20, 3, generator=generator), torch.randn(5, 3, 4, generator=generator)
    domains = torch.randint(1, 4, (20,), generator=generator)
    torch.testing.assert_close(grouped(x, w, domains), torch.einsum("np,npq->nq", x, w[domains]))


def test_what_cannot_be_stacked_is_refused(base: Base, other_base: Base) -> None:
    first = domain(base, 0, TARGETS[0])
    for other in (
        domain(base, 1, "users:2,items:2,transform:2,bias"),
        domain(base, 1, "users:2,items:3,bias"),
        domain(other_base, 1, TARGETS[0]),
        adapter_of(base, {}, kind="full").model,
        adapter_of(as_towers(base), {"users": 2, "items": 3, "transform": 2}).model,
        base.model,
    ):
        with pytest.raises(AdapterMismatchError, match="Adapter 1 has"):
            stacked([first, other])
    with pytest.raises(AdapterMismatchError, match="no model"):
        stacked([])


@pytest.fixture
def other_base(base_maker: object) -> Base:
    found: Base = base_maker()  # type: ignore[operator]
    return found
