from __future__ import annotations

import math

import pytest
import torch

from lorarec.training.losses import full_softmax, sampled_softmax

NO_HITS = torch.zeros(1, 2, dtype=torch.bool)


def test_full_softmax_is_the_log_of_the_share_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    expected = -math.log(math.exp(2.0) / (math.exp(1.0) + math.exp(2.0) + math.exp(0.5)))
    assert float(full_softmax(logits, torch.tensor([1]))) == pytest.approx(expected)


def test_sampled_softmax_is_its_formula_by_hand() -> None:
    log_q = torch.tensor([0.25, 0.5]).log()
    loss = sampled_softmax(torch.tensor([1.0]), torch.tensor([[2.0, 0.0]]), log_q, NO_HITS)
    total = math.exp(1.0) + math.exp(2.0) / (2 * 0.25) + math.exp(0.0) / (2 * 0.5)
    assert float(loss) == pytest.approx(-math.log(math.exp(1.0) / total))


def test_all_other_items_drawn_once_give_the_full_softmax() -> None:
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(0))
    uniform = torch.full((8,), -math.log(8.0))  # then m q = 1
    hits = torch.zeros(1, 8, dtype=torch.bool)
    sampled = sampled_softmax(logits[:, 0], logits[:, 1:], uniform, hits)
    assert float(sampled) == pytest.approx(float(full_softmax(logits, torch.tensor([0]))))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_denominator_is_that_of_the_full_softmax_in_expectation(power: float) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(12, generator=generator)
    q = torch.arange(1.0, 13.0) ** power
    q /= q.sum()
    drawn = torch.multinomial(q, 2000 * 8, replacement=True, generator=generator).view(-1, 8)
    # One call for each trial of 8 draws; exp(loss + s_p) is the denominator.
    totals = torch.stack(
        [
            sampled_softmax(scores[:1], scores[d].unsqueeze(0), q[d].log(), (d == 0).unsqueeze(0))
            for d in drawn
        ]
    )
    estimate = float((totals + scores[0]).exp().mean())
    assert estimate == pytest.approx(float(scores.exp().sum()), rel=0.05)


def test_many_draws_approach_the_full_softmax_s_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 20, generator=generator)
    q = torch.arange(1.0, 21.0) / 210
    drawn = torch.multinomial(q, 200_000, replacement=True, generator=generator)
    hits = (drawn == 3).unsqueeze(0)
    sampled = sampled_softmax(logits[:, 3], logits[:, drawn], q[drawn].log(), hits)
    assert float(sampled) == pytest.approx(float(full_softmax(logits, torch.tensor([3]))), abs=0.02)


def test_an_accidental_hit_neither_counts_nor_gets_a_gradient() -> None:
    log_q = torch.tensor([0.5, 0.5]).log()
    negative = torch.tensor([[3.0, 0.0]], requires_grad=True)
    hits = torch.tensor([[True, False]])
    loss = sampled_softmax(torch.tensor([1.0]), negative, log_q, hits)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(1 + math.exp(-1.0)))
    assert negative.grad is not None
    assert negative.grad[0, 0] == 0.0


def test_a_row_whose_draws_are_all_hits_loses_nothing() -> None:
    hits = torch.ones(1, 2, dtype=torch.bool)
    loss = sampled_softmax(torch.tensor([1.0]), torch.ones(1, 2), torch.zeros(2), hits)
    assert float(loss) == 0.0


def test_a_weight_counts_like_repeats() -> None:
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    places = torch.tensor([0, 2])
    weighted = full_softmax(logits, places, torch.tensor([3.0, 1.0]))
    repeated = full_softmax(logits[[0, 0, 0, 1]], places[[0, 0, 0, 1]])
    assert float(weighted) == pytest.approx(float(repeated))


def test_weights_of_one_change_nothing() -> None:
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    places = torch.tensor([0, 2])
    assert float(full_softmax(logits, places, torch.ones(2))) == pytest.approx(
        float(full_softmax(logits, places))
    )


def test_a_batch_of_weight_zero_teaches_nothing() -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    loss = full_softmax(logits, torch.tensor([0, 2]), torch.zeros(2))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()
