"""One tower: what stands between a row's raw vector and the vector that is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.models.base import linear_of
from lorarec.models.features import FeatureEmbedding


class Tower(nn.Module):
    """Layers over raw vectors, with a way around them:

        t(x) = x + W_out · h_k(… h_1(x)),   h_l(x) = dropout(gelu(norm(W_l x + c_l)))

    W_out starts at zero, so that a tower of any depth begins as the identity, and with it the model
    where its tables begin (the zero-initialised residual of Goyal et al. 2017). A tower of no
    layers is the identity.

    Args:
        dim: d of what goes in and comes out.
        widths: Outputs of each hidden layer; none for no layer at all.
        layer_norm: Whether each hidden layer is normalised (Ba et al. 2016).
        dropout: Share of hidden values that are dropped while training.
        features: What is known of the rows besides their id.
        generator: Of the initial weights.
    """

    def __init__(
        self,
        dim: int,
        widths: Sequence[int] = (),
        layer_norm: bool = True,
        dropout: float = 0.0,
        features: FeatureEmbedding | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        sizes = [dim, *widths]
        self.layers = nn.ModuleList(
            # The spread that He et al. 2015 have for rectified layers; gelu is near enough.
            linear_of(
                torch.randn(outer, inner, generator=generator) * math.sqrt(2 / inner),
                torch.zeros(outer),
            )
            for inner, outer in pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths if layer_norm)
        last = (torch.zeros(dim, sizes[-1]), torch.zeros(dim))
        self.out = linear_of(*last) if widths else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 (n, d) → float32 (n, d)."""
        if self.out is None:
            return vectors
        hidden = vectors
        for place, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if len(self.norms):
                hidden = self.norms[place](hidden)
            hidden = self.dropout(functional.gelu(hidden))
        around: Tensor = vectors + self.out(hidden)
        return around
