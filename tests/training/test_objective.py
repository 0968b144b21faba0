from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lorarec.data.interactions import Interactions
from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import lora_config
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import DomainExamples, examples_of
from lorarec.training.loop import Options, fit
from lorarec.training.losses import bpr, cosine_contrastive, full_softmax
from lorarec.training.objective import Objective
from lorarec.training.precision import autocast
from lorarec.training.temperature import LearntTemperature

Indexed = Callable[..., Interactions]
LOSSES: tuple[Any, ...] = ("softmax", "bpr", "ccl")
SAMPLINGS: tuple[Any, ...] = ("popularity", "uniform", "in-batch")


@pytest.fixture
def domain(indexed: Indexed) -> DomainExamples:
    """Users and items of two tastes; items 20 and above belong to another domain."""
    rows = [f"{u} {i} d train" for u in range(12) for i in range(10) if i % 2 == u % 2]
    rows += [f"{u} {20 + u % 3} e train" for u in range(12)]
    return examples_of(indexed(rows, 12, 24, ("d", "e")), ["d"])[0]


def made() -> MatrixFactorization:
    bias = torch.randn(24, 1, generator=torch.Generator().manual_seed(2)) * 0.1
    tables = MatrixFactorization.create(12, 24, 4, seed=1).tables()
    return MatrixFactorization.from_tables(
        tables["users"], tables["items"], "cosine", 0.15, bias
    ).requires_grad_(True)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_row_is_looked_at_without_what_it_is_to_predict(
    domain: DomainExamples, loss: Any, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch, asked = made(), torch.tensor([7, 0, 21]), []
    vectors = model.user_vectors

    def seen(rows: Tensor, without: Tensor | None = None) -> Tensor:
        asked.append((rows, without))
        return vectors(rows, without)

    monkeypatch.setattr(model, "user_vectors", seen)
    Objective(4, loss, sampling)(model, domain, batch, seeded())
    ((rows, without),) = asked
    assert torch.equal(rows, domain.users[batch])
    assert torch.equal(without, domain.items[batch])


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_with_every_sampling(
    domain: DomainExamples, loss: Any, sampling: Any
) -> None:
    model = MatrixFactorization.create(12, 24, 4, seed=1)
    objective = Objective(0, loss, sampling, margin=0.3, negative_weight=2.0)
    options = Options(25, 16, 9, 0.05, objective=objective)
    fit({"d": model}, dict(model.named_parameters()), [domain], options, dict)
    users, items = torch.arange(12), torch.arange(10)
    scores = model.user_vectors(users) @ model.item_vectors(items).T
    own = users.unsqueeze(1) % 2 == items % 2
    assert float(scores.detach()[own].mean()) > float(scores.detach()[~own].mean()) + 2.0


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_negative_leaves_the_domain(domain: DomainExamples, loss: Any, sampling: Any) -> None:
    model = made()
    Objective(9, loss, sampling)(model, domain, torch.arange(60), seeded()).backward()
    grad = model.items.weight.grad
    assert isinstance(grad, Tensor)
    assert int(grad.coalesce().indices().max()) < 10


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_rows_are_weighed_in_every_loss(domain: DomainExamples, loss: Any, sampling: Any) -> None:
    model, batch, objective = made(), torch.tensor([0, 14, 37]), Objective(9, loss, sampling)

    def value(weights: list[float]) -> float:
        spread = torch.zeros(60).index_put((batch,), torch.tensor(weights))
        found = objective(model, replace(domain, weights=spread), batch, seeded())
        return float(found.detach())

    alone = [value([float(row == place) for place in range(3)]) for row in range(3)]
    plain = float(objective(model, domain, batch, seeded()).detach())
    assert value([2.0, 2.0, 2.0]) == pytest.approx(plain)
    assert value([3.0, 0.0, 1.0]) == pytest.approx((3 * alone[0] + alone[2]) / 4)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_adapter_trains_in_bfloat16(domain: DomainExamples, loss: Any) -> None:
    base, none = made().requires_grad_(False), torch.empty(0, 4)
    touched = Touched(torch.arange(12), torch.arange(10), none, none, torch.arange(10))
    model = attach(base, lora_config(2, 4), touched)
    options = Options(
        8, 16, 9, 0.05, precision="bfloat16", objective=Objective(0, loss, margin=0.1)
    )
    history = fit({"d": model}, adapter_parameters(model), [domain], options, dict)
    assert history.epochs[-1]["train_loss"] < history.epochs[1]["train_loss"]


def test_bpr_contrasts_each_row_with_draws_of_its_own(domain: DomainExamples) -> None:
    model, batch = made(), torch.tensor([3, 8, 8, 40])
    found = Objective(9, "bpr")(model, domain, batch, seeded())
    drawn = domain.sampler.draw(8, seeded()).view(4, 2)
    users, items = domain.users[batch], domain.items[batch]
    positive = model.score(users, items)
    negative = torch.stack([model.score(users, drawn[:, k]) for k in range(2)], 1)
    has = drawn % 2 == (users % 2).unsqueeze(1)
    torch.testing.assert_close(found, bpr(positive, negative, has))


def test_in_the_batch_bpr_takes_the_next_rows_items(domain: DomainExamples) -> None:
    model, batch = made(), torch.tensor([0, 5, 12, 40])  # users 0, 1, 2 and 8
    found = Objective(4, "bpr", "in-batch")(model, domain, batch, seeded())
    users, items = domain.users[batch], domain.items[batch]
    others = items[[1, 2, 3, 0]]
    has = (others % 2 == users % 2).unsqueeze(1)
    expected = bpr(model.score(users, items), model.score(users, others).unsqueeze(1), has)
    torch.testing.assert_close(found, expected)


def test_ccl_compares_cosines_and_skips_what_the_user_has(domain: DomainExamples) -> None:
    model, batch = made(), torch.tensor([3, 8, 40])
    found = Objective(30, "ccl", margin=0.1, negative_weight=5.0)(model, domain, batch, seeded())
    columns, times = torch.unique(domain.sampler.draw(30, seeded()), return_counts=True)
    users, items = domain.users[batch], domain.items[batch]
    grid = torch.stack([model.score(users, c.expand(3)) for c in columns], 1)
    has = columns % 2 == (users % 2).unsqueeze(1)
    expected = cosine_contrastive(
        model.score(users, items) * 0.15, grid * 0.15, has, times.float(), 0.1, 5.0
    )
    torch.testing.assert_close(found, expected)


def test_in_the_batch_softmax_is_that_of_the_catalogue_on_average(
    domain: DomainExamples,
) -> None:
    model = made()
    model.temperature = 1.0
    generator, every = seeded(), torch.arange(60)
    grid = model.user_vectors(domain.users) @ model.item_vectors(torch.arange(10)).T
    grid = grid + model.item_bias(torch.arange(10))
    whole = float(full_softmax(grid, domain.items).detach())
    found = []
    for _ in range(30):
        batches = every[torch.randperm(60, generator=generator)].split(30)
        objective = Objective(9, "softmax", "in-batch")
        found += [float(objective(model, domain, b, generator).detach()) for b in batches]
    assert sum(found) / len(found) == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_one_row_has_no_others(domain: DomainExamples, loss: Any) -> None:
    model = made()
    value = Objective(9, loss, "in-batch")(model, domain, torch.tensor([4]), seeded())
    value.backward()
    assert math.isfinite(float(value.detach()))


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_learnt_temperature_begins_at_the_model_s(domain: DomainExamples, loss: Any) -> None:
    model = made()
    learnt = LearntTemperature([model])
    plain = Objective(5, loss)(model, domain, torch.arange(20), seeded())
    scaled = Objective(5, loss, temperature=learnt)(model, domain, torch.arange(20), seeded())
    assert torch.equal(plain, scaled)
    scaled.backward()
    assert learnt.theta.grad is not None
    assert float(learnt.theta.grad) != 0.0


def test_training_with_a_temperature_is_scoring_with_it(domain: DomainExamples) -> None:
    model = made()
    learnt = LearntTemperature([model])
    with torch.no_grad():
        learnt.theta.fill_(0.5)
    assert learnt.value == pytest.approx(0.15 * math.exp(-0.5))
    found = Objective(99, temperature=learnt)(model, domain, torch.arange(20), seeded())
    with learnt.applied():
        expected = Objective(99)(model, domain, torch.arange(20), seeded())
    torch.testing.assert_close(found, expected)
    assert model.temperature == 0.15
    learnt.settle()
    assert model.temperature == learnt.value


def test_a_learnt_temperature_has_an_end() -> None:
    model = made()
    learnt = LearntTemperature([model])
    with torch.no_grad():
        learnt.theta.fill_(50.0)
    assert learnt.value == pytest.approx(0.01)
    assert float(learnt.scaled(torch.ones(1)).detach()) == pytest.approx(15.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_bfloat16_is_near_and_leaves_gradients_float32(domain: DomainExamples, loss: Any) -> None:
    model, batch = made(), torch.arange(30)
    whole = Objective(9, loss)(model, domain, batch, seeded())
    with autocast("bfloat16", "cpu"):
        half = Objective(9, loss)(model, domain, batch, seeded())
    half.backward()
    grad = model.users.weight.grad
    assert isinstance(grad, Tensor)
    assert grad.dtype == half.dtype == torch.float32
    assert float(half.detach()) == pytest.approx(float(whole.detach()), rel=0.02)


def test_by_default_the_cpu_computes_in_float32() -> None:
    assert isinstance(autocast("auto", "cpu"), nullcontext)
    assert isinstance(autocast("float32", "cpu"), nullcontext)
