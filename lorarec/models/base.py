"""The contract every base model keeps: rows in, vectors out, a score that is an inner product."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lorarec.errors import DataError


class BaseModel(nn.Module, ABC):
    """A model that scores a user and an item by their vectors.

    The score of user u and item i is `<user_vectors(u), item_vectors(i)> + item_bias(i)`, higher is
    better, so that exact inner-product search ranks as the model does. `users` and `items` map rows
    to raw vectors and `transform` is applied to item vectors; an adapter stands in for these named
    modules in a copy made by `replaced`, and the base itself is never edited.
    """

    users: nn.Module
    items: nn.Module
    transform: nn.Module
    bias: nn.Module | None

    @property
    @abstractmethod
    def dim(self) -> int:
        """d: length of a vector."""

    @abstractmethod
    def user_vectors(self, rows: Tensor) -> Tensor:
        """Vectors of users: int64 (n,) → float32 (n, d)."""

    @abstractmethod
    def item_vectors(self, rows: Tensor) -> Tensor:
        """Vectors of items: int64 (n,) → float32 (n, d)."""

    @abstractmethod
    def replaced(self, **modules: nn.Module | None) -> BaseModel:
        """A model with some named modules replaced; all others are shared, none is copied."""

    def item_bias(self, rows: Tensor) -> Tensor | None:
        """What is added to an item's score: int64 (n,) → float32 (n,); None where there is none."""
        return None if self.bias is None else self.bias(rows)

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores of pairs: int64 (n,) and int64 (n,) → float32 (n,)."""
        scores = (self.user_vectors(users) * self.item_vectors(items)).sum(-1)
        bias = self.item_bias(items)
        return scores if bias is None else scores + bias


class ItemBias(nn.Module):
    """One number an item, added to its scores: a table (n, 1) with row-sparse gradients."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.table = table_of(values)

    def __len__(self) -> int:
        return int(self.table.num_embeddings)

    def forward(self, rows: Tensor) -> Tensor:
        values: Tensor = self.table(rows)
        return values.squeeze(-1)


def table_of(values: Tensor) -> nn.Embedding:
    """A trainable table over float32 (n, d), not copied, whose gradients are row-sparse."""
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        values, freeze=False, sparse=True
    )
    return table


def as_rows(rows: object, count: int, what: str) -> Tensor:
    """Row numbers as an int64 tensor, checked against the table's length.

    Raises:
        DataError: A row is below 0 or not below `count`; the first five are named.
    """
    tensor = torch.as_tensor(rows, dtype=torch.int64)
    outside = tensor[(tensor < 0) | (tensor >= count)]
    if len(outside):
        raise DataError(
            f"{len(outside)} {what} rows are outside the table, the first {outside[:5].tolist()}. "
            f"Expected rows from 0 to {count - 1}."
        )
    return tensor
