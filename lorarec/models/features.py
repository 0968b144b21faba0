"""Side features as vectors: one small module a feature, which holds the feature of every row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lorarec.data.features.table import Bags, FeatureTable, Vectors
from lorarec.models.base import linear_of, table_of

Array = np.ndarray[Any, Any]


class FeatureEmbedding(nn.Module):
    """The features of a row as one vector: the sum of a vector for each feature.

        f_r = Σ_categorical C[code_r] + Σ_lists mean_c∈list_r C[c] + W [numbers_r, missing_r]
              + Σ_vectors (V v_r + missing_r m)

    All of C, W, V and m start at zero, so that features add nothing before the first step. What a
    feature is for each row is a buffer; a row that no feature is known of is the last one.

    Args:
        table: Features of the rows; its last row must be one without any.
        sizes: Rows of the embedding table of each categorical and list feature.
        dim: d.
    """

    def __init__(self, table: FeatureTable, sizes: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.rows = len(table)
        parts: list[tuple[str, nn.Module]] = [
            (name, Categorical(codes, sizes[name], dim))
            for name, codes in table.categorical.items()
        ]
        parts += [
            (name, CategoryList(bags, sizes[name], dim)) for name, bags in table.categories.items()
        ]
        parts += [(name, DenseVector(found, dim)) for name, found in table.vectors.items()]
        names = part_names(table.categorical, table.categories, table.vectors)
        named = {names[name]: part for name, part in parts}
        if table.numeric_names:
            named["numeric"] = Numbers(table.numeric, table.numeric_missing, dim)
        self.parts = nn.ModuleDict(named)

    @property
    def unknown(self) -> int:
        """The place of a row that no feature is known of."""
        return self.rows - 1

    def forward(self, places: Tensor) -> Tensor:
        """Vectors of rows: int64 (n,), each in [0, rows) → float32 (n, d)."""
        vectors = [part(places) for part in self.parts.values()]
        total: Tensor = sum(vectors[1:], vectors[0])
        return total


class Categorical(nn.Module):
    """One category a row, 0 where unknown: a vector each."""

    def __init__(self, codes: Array, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(codes.astype(np.int32)))
        self.codes: Tensor
        self.table = table_of(torch.zeros(size, dim))

    def forward(self, places: Tensor) -> Tensor:
        vectors: Tensor = self.table(self.codes[places].long())
        return vectors


class CategoryList(nn.Module):
    """A list of categories a row: the mean of their vectors, zero for an empty list."""

    def __init__(self, bags: Bags, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.from_numpy(bags.offsets.astype(np.int64)))
        self.register_buffer("values", torch.from_numpy(bags.values.astype(np.int32)))
        self.offsets: Tensor
        self.values: Tensor
        self.table = table_of(torch.zeros(size, dim))

    def forward(self, places: Tensor) -> Tensor:
        picked, bounds = ranges(self.offsets, places)
        codes = self.values[picked].long()
        return functional.embedding_bag(
            codes, self.table.weight, bounds[:-1], mode="mean", sparse=True
        )


class DenseVector(nn.Module):
    """A dense vector a row, such as a text's or an image's, brought to d by a linear layer."""

    def __init__(self, vectors: Vectors, dim: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(vectors.values.astype(np.float32)))
        self.register_buffer("missing", torch.from_numpy(vectors.missing))
        self.values: Tensor
        self.missing: Tensor
        self.linear = linear_of(torch.zeros(dim, vectors.values.shape[1] + 1))

    def forward(self, places: Tensor) -> Tensor:
        missing = self.missing[places].unsqueeze(1).to(self.values.dtype)
        vectors: Tensor = self.linear(torch.cat([self.values[places], missing], 1))
        return vectors


class Numbers(nn.Module):
    """Standardised numbers of a row and which of them are missing, by a linear layer."""

    def __init__(self, values: Array, missing: Array, dim: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(values.astype(np.float32)))
        self.register_buffer("missing", torch.from_numpy(missing))
        self.values: Tensor
        self.missing: Tensor
        self.linear = linear_of(torch.zeros(dim, 2 * values.shape[1]))

    def forward(self, places: Tensor) -> Tensor:
        missing = self.missing[places].to(self.values.dtype)
        vectors: Tensor = self.linear(torch.cat([self.values[places], missing], 1))
        return vectors


def part_names(*kinds: Iterable[str]) -> dict[str, str]:
    """Feature → the name of its module: numbered, as a column may have any name and a module may
    not. The kinds are categorical, lists and vectors, in the order of the encoder's specs.
    """
    names = [name for kind in kinds for name in kind]
    return {
        name: f"{place}_{re.sub(r'[^A-Za-z0-9]', '_', name)}" for place, name in enumerate(names)
    }


def ranges(offsets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the entries of rows in a flat array, and where each row's begin.

    Args:
        offsets: int64 (n + 1,): entries of row r are [offsets[r], offsets[r + 1]).
        rows: int64 (m,).

    Returns:
        int64 (k,) places, and int64 (m + 1,) bounds of each row among them.
    """
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    bounds = functional.pad(lengths.cumsum(0), (1, 0))
    total = int(bounds[-1])
    shift = torch.repeat_interleave(starts - bounds[:-1], lengths, output_size=total)
    return torch.arange(total, device=rows.device) + shift, bounds
