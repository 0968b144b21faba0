"""Random streams with names: what one part of the world draws never moves another part."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str, *place: int) -> np.random.Generator:
    """A generator of its own for one purpose.

    A change of the rank, the window or the features leaves users, items and popularity as they
    are, and domains can be drawn in any order.

    Args:
        seed: The world's.
        name: The purpose, such as `taste`.
        place: Where in the purpose, such as a domain and a round.
    """
    key = (zlib.crc32(name.encode()), *place)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
