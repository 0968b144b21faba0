"""How popular each item is in each domain: a power law."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorarec.data.made.streams import stream

Array = np.ndarray[Any, Any]

SLOPE = 1.0  # of log popularity against log rank
HEAD = 10.0  # ranks that flatten the very top


def make_popularity(seed: int, domains: int, items: int) -> Array:
    """Log popularity, -log(rank + 10), in a rank that is half common, half the domain's own.

    Ranks run over all items, so that a catalogue holds some of them.

    Returns:
        float64 (domains, items).
    """
    common = stream(seed, "popularity").standard_normal(items)
    table = np.empty((domains, items))
    by_rank = -SLOPE * np.log(np.arange(items) + HEAD)
    for d in range(domains):
        own = stream(seed, "popularity", d).standard_normal(items)
        table[d, np.argsort(-(common + own))] = by_rank
    return table
