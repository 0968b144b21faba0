"""The contract every base model keeps: rows in, vectors out, a score that is an inner product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from lorarec.errors import DataError

Similarity = Literal["cosine", "dot"]


class BaseModel(nn.Module, ABC):
    """A model that scores a user and an item by their vectors.

    The score of user u and item i is `<user_vectors(u), item_vectors(i)> + item_bias(i)`, higher is
    better, so that exact inner-product search ranks as the model does. `users` and `items` map rows
    to raw vectors and `transform` is applied to item vectors; an adapter stands in for these named
    modules in a copy made by `replaced`, and the base itself is never edited.

    Whatever else a model reads of a row, such as features or a history, it holds as buffers. It
    never depends on what is asked for together.
    """

    users: nn.Module
    items: nn.Module
    transform: nn.Module
    bias: nn.Module | None
    similarity: Similarity
    temperature: float

    @property
    @abstractmethod
    def dim(self) -> int:
        """d: length of a vector."""

    @abstractmethod
    def user_vectors(self, rows: Tensor, without: Tensor | None = None) -> Tensor:
        """Vectors of users: int64 (n,) → float32 (n, d).

        Args:
            rows: Of the users.
            without: int64 (n,): for each row an item that the user is looked at without, as if it
                had never had it. Training asks so for the item that the row is to predict; a model
                that knows no histories has nothing to leave out.
        """

    @abstractmethod
    def item_vectors(self, rows: Tensor) -> Tensor:
        """Vectors of items: int64 (n,) → float32 (n, d)."""

    @abstractmethod
    def user_inputs(self, rows: Tensor) -> Tensor:
        """What `user_vectors` is computed from, in the space of the table `users`: (n, d)."""

    @abstractmethod
    def item_inputs(self, rows: Tensor) -> Tensor:
        """What `item_vectors` is computed from, in the space of the table `items`: (n, d)."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Every number of a plain base by its name on disk; together with `scoring` it is the base.

        Raises:
            TypeError: An adapter stands in for a module.
        """

    @abstractmethod
    def scoring(self) -> str:
        """How the numbers become a score: part of the base's digest."""

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


def compared(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Vectors as they are compared: of norm 1 for cosine, as they are for dot product."""
    return functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors


def plain_tables(model: BaseModel) -> dict[str, Tensor]:
    """`users` (n, d), `items` (m, d) and, with one, `bias` (m, 1) of a plain base.

    Raises:
        TypeError: An adapter stands in for a table.
    """
    bias = None if model.bias is None else getattr(model.bias, "table", model.bias)
    found = {"users": model.users, "items": model.items, "bias": bias}
    modules = {name: module for name, module in found.items() if module is not None}
    tables = {n: m.weight.detach() for n, m in modules.items() if isinstance(m, nn.Embedding)}
    if len(tables) < len(modules):
        raise TypeError(f"Only {sorted(tables)} of {sorted(modules)} are plain tables.")
    return tables


def table_of(values: Tensor) -> nn.Embedding:
    """A trainable table over float32 (n, d), not copied, whose gradients are row-sparse."""
    table: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        values, freeze=False, sparse=True
    )
    return table


def linear_of(weight: Tensor, constant: Tensor | None = None) -> nn.Linear:
    """A trainable linear layer over float32 (outputs, inputs), not copied, and (outputs,)."""
    outputs, inputs = weight.shape
    # Neither initial values nor the generator that all share are wanted.
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs, bias=constant is not None)  # type: ignore[no-untyped-call]
    layer.weight = nn.Parameter(weight)
    if constant is not None:
        layer.bias = nn.Parameter(constant)
    return layer


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
