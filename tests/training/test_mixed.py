from __future__ import annotations

import pytest
import torch

from lorarec.errors import TrainingError
from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import lora_config
from lorarec.lora.stacked import stacked, unstacked
from lorarec.models.base import BaseModel
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import DomainExamples
from lorarec.training.hybrid import HybridOptimizer
from lorarec.training.mixed import mixed
from lorarec.training.negatives import CatalogueSampler
from lorarec.training.objective import Objective

USERS, ITEMS, ROWS = 30, 40, 24


def domain(number: int, rows: int = ROWS) -> DomainExamples:
    generator = torch.Generator().manual_seed(number)
    users = torch.randint(USERS, (rows,), generator=generator)
    items = torch.randint(ITEMS, (rows,), generator=generator)
    sampler = CatalogueSampler(*torch.unique(items, return_counts=True))
    return DomainExamples(str(number), users, items, None, sampler)


def adapted(base: MatrixFactorization, own: DomainExamples) -> BaseModel:
    none = torch.empty(0, base.dim)
    touched = Touched(own.users.unique(), own.sampler.items, none, none, own.sampler.items)
    return attach(base, lora_config(2, base.dim), touched)


def test_draws_are_of_the_row_s_own_catalogue_and_as_its_sampler_draws() -> None:
    domains = [domain(number) for number in range(3)]
    sampler = mixed(domains, USERS, ITEMS).sampler
    places = torch.tensor([0, len(sampler) - 1]).repeat_interleave(20_000)
    found = sampler.items[sampler.draw_for(places, 2, torch.Generator().manual_seed(0))]
    for k, part in ((0, found[:20_000]), (2, found[20_000:])):
        own = domains[k].sampler
        counts = torch.bincount(part.flatten() - k * ITEMS, minlength=ITEMS) / 40_000
        expected = torch.zeros(ITEMS).index_put((own.items,), own.log_probability.exp())
        torch.testing.assert_close(counts, expected, atol=0.01, rtol=0)


def test_a_draw_at_the_end_of_a_domain_stays_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = mixed([domain(0), domain(1)], USERS, ITEMS).sampler
    last = len(domain(0).sampler) - 1
    ones = lambda *shape, **_: torch.ones(*shape, dtype=torch.float64)  # noqa: E731
    monkeypatch.setattr(torch, "rand", ones)
    assert sampler.draw_for(torch.tensor([0]), 1, torch.Generator()).tolist() == [[last]]


def test_a_mixed_step_moves_each_adapter_as_its_own_step_does() -> None:
    """Domains of the same size, sorted, draw the same negatives; Adam's step has no scale."""
    base = MatrixFactorization.create(USERS, ITEMS, 8, similarity="dot").requires_grad_(False)
    domains = [domain(number) for number in range(3)]
    alone, together = ([adapted(base, d) for d in domains] for _ in range(2))  # type: ignore[arg-type]
    stack = stacked(together)
    rows = mixed(domains, stack.users.stride, stack.items.stride)  # type: ignore[arg-type]
    objective, draws = Objective(1, "bpr"), [torch.Generator().manual_seed(5) for _ in range(2)]
    optimizers = [HybridOptimizer(adapter_parameters(model), lr=0.05) for model in alone]
    whole = HybridOptimizer(dict(stack.named_parameters()), lr=0.05)
    for _ in range(3):
        for model, own, optimizer in zip(alone, domains, optimizers, strict=True):
            optimizer.zero_grad()
            objective(model, own, torch.arange(ROWS), draws[0]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        whole.zero_grad()
        objective(stack, rows, torch.arange(3 * ROWS), draws[1]).backward()  # type: ignore[no-untyped-call]
        whole.step()
    unstacked(stack, together)
    for model, other in zip(alone, together, strict=True):
        for name, value in adapter_parameters(model).items():
            torch.testing.assert_close(value, adapter_parameters(other)[name], atol=2e-3, rtol=0)
            assert value.abs().max() > 0.05


def test_a_loss_with_shared_negatives_is_refused() -> None:
    rows = mixed([domain(0), domain(1)], USERS, ITEMS)
    base = MatrixFactorization.create(2 * USERS, 2 * ITEMS, 8)
    with pytest.raises(TrainingError, match="use bpr"):
        Objective(4)(base, rows, torch.arange(8), torch.Generator())


def test_weights_of_some_domains_are_kept_beside_ones() -> None:
    first, second = domain(0), domain(1)
    weighted = DomainExamples(
        "w", second.users, second.items, torch.full((ROWS,), 2.0), second.sampler
    )
    rows = mixed([first, weighted], USERS, ITEMS)
    assert rows.weights is not None
    assert rows.weights.tolist() == [1.0] * ROWS + [2.0] * ROWS
