"""Losses of ranking: softmax, whole or sampled, BPR and the cosine contrastive loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def full_softmax(logits: Tensor, positives: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy over the whole catalogue: -log( exp s_p / Σ_j exp s_j ), averaged by weight.

    Args:
        logits: float (n, c): scores of every catalogue item for each row.
        positives: int64 (n,): place of the row's own item.
        weights: float (n,); None weighs all alike.
    """
    return _mean(functional.cross_entropy(logits, positives, reduction="none"), weights)


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    log_probability: Tensor,
    hits: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Softmax over the positive and m shared negatives, corrected for how they were drawn.

        -log( exp s_p / (exp s_p + Σ_j exp(s_j - log(m q_j))) )

    The sum over draws j ~ q of exp(s_j) / (m q_j) is an unbiased estimate of the sum over the
    catalogue (Bengio and Senécal 2008; the "logQ correction" of Yi et al. 2019). Draws that are the
    row's own item are masked: they would teach the row to reject its own positive.

    Args:
        positive: float (n,): scores of the rows' own items.
        negative: float (n, m): scores of the drawn items.
        log_probability: float (m,): log q of each drawn item.
        hits: bool (n, m): where a drawn item is the row's own.
        weights: float (n,); None weighs all alike.
    """
    correction = log_probability + math.log(negative.shape[1])
    total: Tensor = _CorrectedLogSumExp.apply(positive, negative, correction, hits)  # type: ignore[no-untyped-call]
    return _mean(total - positive, weights)


class _CorrectedLogSumExp(torch.autograd.Function):
    """log(exp p + Σ_j exp(s_j - c_j)) over what is not masked, (n, m) scores in one place.

    The n·m numbers are most of a step's work, and each pass over them counts: they are written once
    and turned into their gradient where they are. The graph can be walked back once.
    """

    @staticmethod
    def forward(
        ctx: Any, positive: Tensor, negative: Tensor, correction: Tensor, hits: Tensor
    ) -> Tensor:
        rows, count = negative.shape
        logits = negative.new_empty(rows, count + 1)
        logits[:, 0] = positive
        torch.sub(negative, correction, out=logits[:, 1:])
        logits[:, 1:].masked_fill_(hits, -torch.inf)
        total = torch.logsumexp(logits, 1)
        ctx.save_for_backward(logits, total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        logits, total = ctx.saved_tensors
        # Not a copy: nothing else holds them, and autograd refuses a second walk once they changed.
        found = logits.sub_(total.unsqueeze(1)).exp_().mul_(grad.unsqueeze(1))
        return found[:, 0], found[:, 1:], None, None


def bpr(positive: Tensor, negative: Tensor, hits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking: a row's item should score above each of its negatives.

        1/|N| Σ_{j ∈ N} -ln σ(s_p - s_j)

    From Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback", with the
    mean over a row's negatives where it has more than one. The paper draws j from the items that
    the user never had, so those it had are masked; a row with nothing else loses nothing.

    Args:
        positive: float (n,): scores of the rows' own items.
        negative: float (n, k): scores of each row's own draws.
        hits: bool (n, k): where a draw is an item that the row's user has.
        weights: float (n,); None weighs all alike.
    """
    losses = functional.softplus(negative - positive.unsqueeze(1)).masked_fill(hits, 0.0)
    return _mean(losses.sum(1) / (~hits).sum(1).clamp(min=1), weights)


def cosine_contrastive(
    positive: Tensor,
    negative: Tensor,
    hits: Tensor,
    times: Tensor,
    margin: float,
    negative_weight: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Cosine contrastive loss: positives toward 1, and negatives only where above a margin.

        max(0, 1 - c_p) + w/|N| Σ_{j ∈ N} max(0, c_j - m)

    From Mao et al. 2021, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering". N is
    a sample of the items that the user never had, so those it had are masked. The paper writes the
    first part 1 - c_p, which is the same while c is a cosine; an item's bias is added to it here,
    and then the part ends at 0 rather than pay for ever larger biases.

    Args:
        positive: float (n,): cosines of the rows' own items, biases added.
        negative: float (n, u): the same of the distinct drawn items.
        hits: bool (n, u): where a drawn item is one that the row's user has.
        times: float (u,): how often each was drawn.
        margin: m, from -1 to 1.
        negative_weight: w, 0 or above.
        weights: float (n,); None weighs all alike.
    """
    above = functional.relu(negative - margin).masked_fill(hits, 0.0) @ times
    count = (times.sum() - hits.to(times.dtype) @ times).clamp(min=1)
    return _mean(functional.relu(1 - positive) + negative_weight * above / count, weights)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    # A batch may hold rows of weight 0 alone: it teaches nothing, rather than 0 ÷ 0.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
