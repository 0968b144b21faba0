"""How wide an adapter may usefully be, and the same adapter at smaller ranks of its targets."""

from __future__ import annotations

from collections.abc import Mapping

from lorarec.lora.algebra import truncate
from lorarec.lora.attach import restore
from lorarec.lora.config import RANKED, AdapterConfig
from lorarec.lora.size import largest_saving_rank
from lorarec.lora.state import AdapterState
from lorarec.lora.towers import tower_layers
from lorarec.models.base import BaseModel


def geometric_grid(largest: int) -> list[int]:
    """1, 2, 4, 8 and so on up to `largest`, which is 1 or more."""
    return [1 << power for power in range(largest.bit_length())]


def saving_ranks(base: BaseModel, touched: Mapping[str, int]) -> dict[str, int]:
    """The largest rank of each target whose factors are fewer numbers than what they move.

    A table has t · d numbers in the rows that are touched, the transform d · d, a layer its
    weights. 1 where no rank saves, as of a table with fewer than two touched rows.

    Args:
        base: What is adapted.
        touched: Rows the adapter may move, by table: `users` and `items`.
    """
    sides: dict[str, tuple[int, int]] = {
        name: (touched.get(name, base.dim), base.dim) for name in RANKED
    }
    for name, layer in tower_layers(base).items():
        sides[name] = (layer.out_features, layer.in_features)
    return {name: max(1, largest_saving_rank(*shape)) for name, shape in sides.items()}


def narrowed(
    base: BaseModel, state: AdapterState, ranks: Mapping[str, int]
) -> tuple[BaseModel, AdapterConfig]:
    """The nearest adapter with some targets at smaller ranks; see `algebra.truncate`.

    Args:
        base: What the adapter is of; nothing may have been appended to it since.
        state: The adapter, of factors.
        ranks: Target → its rank at most; one that is not named stays as it is.

    Returns:
        The adapted model and its shape; both as they were where no target is above its rank.
    """
    if any(state.config.ranks[name] > rank for name, rank in ranks.items()):
        state, _ = truncate(state, ranks)
    return restore(base, state.config, state.tensors), state.config
