"""What users like and what items are: topics, kinds within them, and each domain's shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lorarec.data.made.streams import stream

Array = np.ndarray[Any, Any]

DIM = 16
TOPICS = 24
KINDS = 240
SPREAD = 0.7  # of users and kinds around their topic's centre, which is of length about 4
SHIFT = 2.0  # length of a domain's shift of a vector against the vector itself


@dataclass(frozen=True, eq=False)
class Taste:
    """Vectors of users and of kinds of items, the same in every domain."""

    users: Array
    """float64 (users, 16): p, of length 1."""
    user_topic: Array
    """int64 (users,): whose centre a user is near."""
    kinds: Array
    """float64 (240, 16): q, of length 1. Kind k is of topic k % 24."""
    item_kind: Array
    """int64 (items,)."""
    drift: Array
    """float64 (16,), of length 1: where everyone's taste moves."""


def make_taste(seed: int, users: int, items: int) -> Taste:
    """Draw topics, kinds, users and items."""
    rng = stream(seed, "taste")
    centres = rng.standard_normal((TOPICS, DIM))
    kind_topic = np.arange(KINDS) % TOPICS
    kinds = unit(centres[kind_topic] + SPREAD * rng.standard_normal((KINDS, DIM)))
    drift = unit(rng.standard_normal((1, DIM)))[0]
    own = stream(seed, "users")
    user_topic = own.integers(TOPICS, size=users)
    vectors = unit(centres[user_topic] + SPREAD * own.standard_normal((users, DIM)))
    item_kind = stream(seed, "items").integers(KINDS, size=items)
    return Taste(vectors, user_topic, kinds, item_kind, drift)


def make_shifts(seed: int, domains: int, rank: int) -> tuple[Array, Array]:
    """The factors of each domain's shift.

    Args:
        seed: The world's.
        domains: Their number.
        rank: Of every shift, 0 to 16; 0 is a world in which all domains see the same items.

    Returns:
        A and B, float64 (domains, 16, rank): a domain sees q as q (I + A_d B_d^T). The shift of a
        vector is about twice as long as the vector, whatever the rank.
    """
    left, right = np.empty((2, domains, DIM, rank))
    for d in range(domains):
        rng = stream(seed, "shifts", d)
        left[d] = rng.standard_normal((DIM, rank)) * (SHIFT / np.sqrt(max(rank, 1)))
        right[d] = rng.standard_normal((DIM, rank)) / np.sqrt(DIM)
    return left, right


def shifted(vectors: Array, left: Array, right: Array) -> Array:
    """Vectors as a domain sees them, of length 1: (n, 16) → (n, 16)."""
    return unit(vectors + (vectors @ left) @ right.T)


def unit(vectors: Array) -> Array:
    """Rows scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
