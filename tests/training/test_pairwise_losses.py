"""BPR and the cosine contrastive loss against their formulas, one number at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lorarec.training.losses import bpr, cosine_contrastive

G = torch.Generator().manual_seed(0)
POSITIVE = torch.rand(4, generator=G)
NEGATIVE = torch.rand(4, 3, generator=G)
HITS = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
TIMES = torch.tensor([1.0, 3.0, 2.0])
WEIGHTS = torch.tensor([2.0, 0.5, 1.0, 1.0])


def naive_bpr(positive: Tensor, negative: Tensor, hits: Tensor, weights: Tensor) -> Tensor:
    total = torch.zeros(())
    for row, weight in enumerate(weights):
        kept = [j for j in range(negative.shape[1]) if not hits[row, j]]
        own = [-torch.sigmoid(positive[row] - negative[row, j]).log() for j in kept]
        total = total + weight * sum(own, torch.zeros(())) / max(len(kept), 1)
    return total / weights.sum()


def naive_ccl(
    positive: Tensor, negative: Tensor, hits: Tensor, weights: Tensor, margin: float, w: float
) -> Tensor:
    total = torch.zeros(())
    for row, weight in enumerate(weights):
        drawn = [
            negative[row, j]
            for j in range(negative.shape[1])
            for _ in range(int(TIMES[j]))
            if not hits[row, j]
        ]
        above = sum([(c - margin).clamp(min=0) for c in drawn], torch.zeros(()))
        total = total + weight * ((1 - positive[row]) + w * above / max(len(drawn), 1))
    return total / weights.sum()


def with_gradients(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    return positive.clone().requires_grad_(), negative.clone().requires_grad_()


def same_value_and_gradients(
    ours: tuple[Tensor, Tensor], found: Tensor, theirs: tuple[Tensor, Tensor], expected: Tensor
) -> None:
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_bpr_is_its_formula_and_so_are_its_gradients() -> None:
    ours, theirs = with_gradients(POSITIVE, NEGATIVE), with_gradients(POSITIVE, NEGATIVE)
    found, expected = bpr(*ours, HITS, WEIGHTS), naive_bpr(*theirs, HITS, WEIGHTS)
    same_value_and_gradients(ours, found, theirs, expected)


def test_ccl_is_its_formula_and_so_are_its_gradients() -> None:
    ours, theirs = with_gradients(POSITIVE, NEGATIVE), with_gradients(POSITIVE, NEGATIVE)
    found = cosine_contrastive(*ours, HITS, TIMES, 0.3, 7.0, WEIGHTS)
    expected = naive_ccl(*theirs, HITS, WEIGHTS, 0.3, 7.0)
    same_value_and_gradients(ours, found, theirs, expected)


def test_gradients_of_double_precision_hold_numerically() -> None:
    given = [POSITIVE.double().requires_grad_(), NEGATIVE.double().requires_grad_()]
    assert torch.autograd.gradcheck(lambda p, n: bpr(p, n, HITS), given)
    assert torch.autograd.gradcheck(
        lambda p, n: cosine_contrastive(p, n, HITS, TIMES.double(), 0.3, 7.0), given
    )


def test_bpr_of_equal_scores_is_the_log_of_two() -> None:
    loss = bpr(torch.ones(1), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    assert float(loss) == pytest.approx(math.log(2))


def test_bpr_of_scores_far_apart_does_not_overflow() -> None:
    none = torch.zeros(1, 1, dtype=torch.bool)
    assert float(bpr(torch.tensor([-500.0]), torch.tensor([[500.0]]), none)) == 1000.0


def test_a_row_whose_draws_its_user_all_has_teaches_nothing_of_negatives() -> None:
    ours = with_gradients(POSITIVE[3:], NEGATIVE[3:])
    bpr(*ours, HITS[3:]).backward()
    assert all(not part.grad.any() for part in ours if part.grad is not None)


def test_ccl_leaves_negatives_below_the_margin_alone() -> None:
    ours = with_gradients(torch.tensor([0.4]), torch.tensor([[0.2, 0.6]]))
    none = torch.zeros(1, 2, dtype=torch.bool)
    cosine_contrastive(*ours, none, torch.ones(2), 0.5, 10.0).backward()
    assert ours[1].grad is not None
    torch.testing.assert_close(ours[1].grad, torch.tensor([[0.0, 5.0]]))


def test_ccl_pays_for_no_score_above_one() -> None:
    ours = with_gradients(torch.tensor([1.3]), torch.tensor([[0.0]]))
    none = torch.zeros(1, 1, dtype=torch.bool)
    loss = cosine_contrastive(*ours, none, torch.ones(1), 0.5, 10.0)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert ours[0].grad is not None
    assert float(ours[0].grad) == 0.0
