"""How the step size goes over a training: warm-up and decay."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["none", "linear", "cosine"]


def step_scale(step: int, steps: int, warmup_share: float = 0.0, decay: Decay = "none") -> float:
    """What the step size is multiplied with at a step.

    Over the first w = ⌈warmup_share · steps⌉ steps it rises linearly (Goyal et al. 2017), and then,
    with p the share of the rest that is done, it is

        none: 1        linear: 1 - p        cosine: (1 + cos πp) / 2   (Loshchilov and Hutter 2017)

    Args:
        step: From 0.
        steps: In all, as planned; early stopping may end sooner.
        warmup_share: From 0 to below 1.
        decay: After the warm-up.
    """
    warmup = math.ceil(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    if decay == "linear":
        return 1.0 - done
    if decay == "cosine":
        return (1.0 + math.cos(math.pi * done)) / 2
    return 1.0
