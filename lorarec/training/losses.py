"""Losses of ranking: softmax over a catalogue, whole or sampled with the logQ correction."""

from __future__ import annotations

import math

import torch
from torch import Tensor
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
    corrected = negative - (log_probability + math.log(negative.shape[1]))
    corrected = corrected.masked_fill(hits, -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), corrected], 1)
    return _mean(torch.logsumexp(logits, 1) - positive, weights)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    # A batch may hold rows of weight 0 alone: it teaches nothing, rather than 0 ÷ 0.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
