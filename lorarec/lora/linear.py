"""Linear layers of a base with a delta: low-rank, or full for comparison."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.lora.delta import Delta
from lorarec.models.base import linear_of


class LinearDelta(Delta):
    """A frozen linear layer W, c of the base that something is added to.

    Args:
        base: The frozen layer, `out` × `in`.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        object.__setattr__(self, "base", base)  # shared, and not a parameter of the adapter
        self.base: nn.Linear

    def frozen(self, inputs: Tensor) -> Tensor:
        """What the base's layer makes of inputs: float (n, in) → (n, out)."""
        weight, constant = self.base.weight.detach(), self.base.bias
        return functional.linear(inputs, weight, None if constant is None else constant.detach())

    @abstractmethod
    def delta(self) -> tuple[Tensor, Tensor | None]:
        """What is added to W (out, in), and to c (out,) where anything is."""

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A layer of its own that does the same."""
        weight = self.base.weight.detach().clone()
        constant = None if self.base.bias is None else self.base.bias.detach().clone()
        if self.enabled:
            more, shift = self.delta()
            weight += more
            if constant is not None and shift is not None:
                constant += shift
        return linear_of(weight, constant)


class LoRALinear(LinearDelta):
    """LoRA of Hu et al. 2021 on a linear layer: y = W x + c + s · B (A x).

    A ∈ R^(r×in) starts normal with standard deviation 1/√in and B ∈ R^(out×r) at zero. Parameters:
    r · (in + out).
    """

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__(base)
        inputs, outputs = base.in_features, base.out_features
        self.scale = alpha / math.sqrt(rank)
        self.a = nn.Parameter(torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        before = self.frozen(inputs)
        if not self.enabled:
            return before
        return before + self.scale * functional.linear(functional.linear(inputs, self.a), self.b)

    def delta(self) -> tuple[Tensor, None]:
        return self.scale * (self.b @ self.a), None


class FullLinear(LinearDelta):
    """Full fine-tuning of a linear layer: y = (W + D) x + c + e, D and e zero at the start.

    Parameters: in · out, and out where the layer has a constant.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base)
        self.d = nn.Parameter(torch.zeros_like(base.weight, device="cpu"))
        self.e = None if base.bias is None else nn.Parameter(torch.zeros(base.out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.enabled:
            return self.frozen(inputs)
        constant = None if self.e is None else self.base.bias.detach() + self.e
        return functional.linear(inputs, self.base.weight.detach() + self.d, constant)

    def delta(self) -> tuple[Tensor, Tensor | None]:
        return self.d, self.e
