"""The names of the arms that an evaluation compares."""

from __future__ import annotations

from typing import Any, Literal, get_args

Arm = Literal["popularity", "knn", "ease", "ials", "bpr", "alone", "base", "bias", "lora", "full"]
"""One way to rank: the domain's popularity; item-kNN, EASE, iALS and BPR of the domain's rows; a
matrix factorization of them; the frozen base; it with the domain's bias alone; it with the adapter;
full fine-tuning."""

EVERY = "all"
"""Stands for all of them."""


def every_arm(value: Any) -> Any:
    """All arms where `all` is asked for, else what was given."""
    return list(get_args(Arm)) if value in (EVERY, [EVERY], (EVERY,)) else value
