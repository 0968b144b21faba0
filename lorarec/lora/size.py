"""What an adapter costs beside full fine-tuning of the same rows, and when factors save nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from lorarec.lora.attach import adapter_parameters, linear_layers
from lorarec.lora.config import AdapterConfig
from lorarec.lora.towers import tower_layers
from lorarec.models.base import BaseModel

BYTES = 4
"""Of a float32."""
ADAM_STATES = 2
"""Adam keeps a mean and a mean square for every parameter."""


@dataclass(frozen=True)
class AdapterSize:
    """Counts of trained numbers, and of those full fine-tuning of the same rows would train."""

    factors: int
    """Low-rank factors, those of layers among them, and the domain's bias."""
    grown: int
    """Full vectors of ids that the base has never seen: the same for every method."""
    full: int
    """Full fine-tuning of the same touched rows, with the same bias and grown rows, and of every
    linear layer of a base that has some."""

    @property
    def parameters(self) -> int:
        """All that the adapter trains."""
        return self.factors + self.grown

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of Adam's two moments for them."""
        return self.parameters * BYTES * ADAM_STATES

    @property
    def share_of_full(self) -> float:
        """Parameters ÷ those of full fine-tuning."""
        return self.parameters / self.full if self.full else 1.0


def adapter_size(model: BaseModel, touched_users: int, touched_items: int) -> AdapterSize:
    """Count the parameters of an adapted model.

    Args:
        model: With an adapter attached.
        touched_users: Known users of the domain: what full fine-tuning would move.
        touched_items: Known items of the domain.
    """
    parameters = adapter_parameters(model)
    grown = sum(p.numel() for name, p in parameters.items() if name.endswith(".grown"))
    bias = sum(p.numel() for name, p in parameters.items() if name.startswith("bias."))
    layers = sum(numbers_of(layer) for layer in linear_layers(model).values())
    return AdapterSize(
        factors=sum(p.numel() for p in parameters.values()) - grown,
        grown=grown,
        full=(touched_users + touched_items) * model.dim + bias + grown + layers,
    )


def numbers_of(layer: nn.Linear) -> int:
    """Weights and constants of a linear layer."""
    return sum(parameter.numel() for parameter in layer.parameters())


def factor_counts(rows: int, dim: int, rank: int) -> tuple[int, int]:
    """Numbers in the factors n·r + r·d, and in the rows themselves n·d."""
    return rows * rank + rank * dim, rows * dim


def largest_saving_rank(rows: int, dim: int) -> int:
    """The largest r with n·r + r·d < n·d; 0 when no rank saves anything."""
    return (rows * dim - 1) // (rows + dim) if rows else 0


def oversized(config: AdapterConfig, base: BaseModel, touched: Mapping[str, int]) -> list[str]:
    """One sentence for each target whose factors outnumber the values that they move.

    Args:
        config: Shape of the adapter; full fine-tuning has no factors.
        base: What is adapted.
        touched: Rows the adapter may move, by table: `users` and `items`.
    """
    sentences = []
    for name, (rows, dim) in _excessive(config, base, touched).items():
        rank = config.ranks[name]
        factors, values = factor_counts(rows, dim, rank)
        best = largest_saving_rank(rows, dim)
        if name in touched:
            has = f"the {rows:,} touched rows have {values:,} of their own"
            none = f"no rank saves with {rows} touched rows"
        else:
            has, none = f"the layer has {values:,} weights", "no rank saves with its shape"
        sentences.append(
            f"Rank {rank} on {name} trains {factors:,} numbers where {has}; "
            f"{f'the largest rank that saves is {best}' if best else none}."
        )
    return sentences


def without_excess(
    config: AdapterConfig, base: BaseModel, touched: Mapping[str, int]
) -> AdapterConfig:
    """The same adapter with values of their own wherever factors would outnumber them.

    Args:
        config, base, touched: As `oversized` has them.
    """
    excess = _excessive(config, base, touched)
    if not excess:
        return config
    ranks = {name: rank for name, rank in config.ranks.items() if name not in excess}
    return config.model_copy(update={"ranks": ranks, "whole": (*config.whole, *excess)})


def _excessive(
    config: AdapterConfig, base: BaseModel, touched: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Rows and length of a row of each target whose factors outnumber what they move."""
    shapes = {name: (rows, base.dim) for name, rows in touched.items() if rows}
    for name, layer in tower_layers(base).items():
        shapes[name] = (layer.out_features, layer.in_features)
    return {
        name: shape
        for name, shape in shapes.items()
        if name in config.ranks and config.ranks[name] > largest_saving_rank(*shape)
    }
