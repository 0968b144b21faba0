"""The names of the arms that an evaluation compares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator

from lorarec.errors import did_you_mean

Plain = Literal[
    "popularity",
    "knn",
    "ease",
    "ials",
    "bpr",
    "alone",
    "pooled",
    "base",
    "bias",
    "lora",
    "full",
]
"""One way to rank: the domain's popularity; item-kNN, EASE, iALS and BPR of the domain's rows; a
matrix factorization of them; one of the rows of all domains, as if they were of one; the frozen
base; it with the domain's bias alone; it with the adapter; full fine-tuning."""
PLAIN: tuple[str, ...] = get_args(Plain)

EVERY = "all"
"""Stands for all of `PLAIN`."""
_OF_RANK = re.compile(r"lora:([1-9]\d{0,3})")


def rank_of(arm: str) -> int | None:
    """R of `lora:R`, which is the base with an adapter of that rank; None of any other arm."""
    found = _OF_RANK.fullmatch(arm)
    return int(found[1]) if found else None


def _known(arm: str) -> str:
    if arm not in PLAIN and rank_of(arm) is None:
        close = did_you_mean(arm, PLAIN).strip()
        raise ValueError(f"{', '.join(PLAIN)}, or lora:R with a rank, such as lora:4. {close}")
    return arm


Arm = Annotated[str, AfterValidator(_known)]
"""One of `PLAIN`, or `lora:R`."""


def every_arm(value: Any) -> Any:
    """All arms where `all` is asked for, else what was given."""
    return list(PLAIN) if value in (EVERY, [EVERY], (EVERY,)) else value


def in_order(arms: Iterable[str]) -> list[str]:
    """Arms as `PLAIN` has them, those of ranks behind `lora` by their rank, others last."""

    def place(arm: str) -> tuple[int, int]:
        rank = rank_of(arm)
        kind = arm if rank is None else "lora"
        return PLAIN.index(kind) if kind in PLAIN else len(PLAIN), rank or 0

    return sorted(arms, key=place)
