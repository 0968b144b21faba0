"""Matrix factorization: one vector a user, one an item, compared by cosine or dot product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lorarec.models.base import (
    BaseModel,
    ItemBias,
    Similarity,
    compared,
    plain_tables,
    table_of,
)


class MatrixFactorization(BaseModel):
    """Scores by vectors alone.

    With e_u and e_i the rows of the two tables:

        dot:     score(u, i) = <e_u, e_i>
        cosine:  score(u, i) = <e_u / |e_u|, e_i / |e_i|> / τ

    plus b_i where there is a bias, so `user_vectors` carries the 1/τ and the score is an inner
    product for both. The bias, on the scale of the softmax's logits, takes up popularity, which a
    cosine could only say by direction.

    Args:
        users: Rows → (n, d), such as `nn.Embedding`.
        items: Rows → (n, d).
        similarity: `cosine` or `dot`.
        temperature: τ of the cosine, above 0; dot product ignores it.
        transform: Applied to raw item vectors; the identity in a base.
        bias: Item rows → (n,), or None.
    """

    def __init__(
        self,
        users: nn.Module,
        items: nn.Module,
        dim: int,
        similarity: Similarity = "cosine",
        temperature: float = 0.15,
        transform: nn.Module | None = None,
        bias: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.users = users
        self.items = items
        self.transform = transform if transform is not None else nn.Identity()
        self.bias = bias
        self.similarity: Similarity = similarity
        self.temperature = temperature
        self._dim = dim

    @classmethod
    def create(
        cls,
        users: int,
        items: int,
        dim: int,
        similarity: Similarity = "cosine",
        temperature: float = 0.15,
        seed: int = 0,
    ) -> MatrixFactorization:
        """A model with normal initial values of standard deviation 0.1.

        Args:
            users: Number of user rows.
            items: Number of item rows.
            dim: d.
            similarity: `cosine` or `dot`.
            temperature: τ of the cosine.
            seed: Of the initial values; the same seed gives the same model.
        """
        generator = torch.Generator().manual_seed(seed)
        tables = [torch.randn(count, dim, generator=generator) * 0.1 for count in (users, items)]
        return cls.from_tables(tables[0], tables[1], similarity, temperature)

    @classmethod
    def from_tables(
        cls,
        users: Tensor,
        items: Tensor,
        similarity: Similarity,
        temperature: float,
        bias: Tensor | None = None,
    ) -> MatrixFactorization:
        """A model over given tables, which it does not copy.

        Args:
            users: float32 (users, d).
            items: float32 (items, d).
            similarity: `cosine` or `dot`.
            temperature: τ of the cosine.
            bias: float32 (items, 1), or None for a model without.
        """
        return cls(
            table_of(users),
            table_of(items),
            users.shape[1],
            similarity,
            temperature,
            bias=None if bias is None else ItemBias(bias),
        )

    @property
    def dim(self) -> int:
        return self._dim

    def tables(self) -> dict[str, Tensor]:
        """The numbers of a plain base: `users` (n, d), `items` (m, d) and, with one, `bias` (m, 1).

        Raises:
            TypeError: An adapter stands in for a table.
        """
        return plain_tables(self)

    def tensors(self) -> dict[str, Tensor]:
        return self.tables()

    def scoring(self) -> str:
        return f"{self.similarity} {self.temperature!r}"

    def user_inputs(self, rows: Tensor) -> Tensor:
        vectors: Tensor = self.users(rows)
        return vectors

    def item_inputs(self, rows: Tensor) -> Tensor:
        vectors: Tensor = self.items(rows)
        return vectors

    def user_vectors(self, rows: Tensor, without: Tensor | None = None) -> Tensor:
        vectors = compared(self.user_inputs(rows), self.similarity)
        return vectors / self.temperature if self.similarity == "cosine" else vectors

    def item_vectors(self, rows: Tensor) -> Tensor:
        return compared(self.transform(self.item_inputs(rows)), self.similarity)

    def replaced(self, **modules: nn.Module | None) -> MatrixFactorization:
        parts: dict[str, Any] = {
            name: getattr(self, name) for name in ("users", "items", "transform", "bias")
        }
        unknown = set(modules) - set(parts)
        if unknown:
            raise KeyError(f"No modules named {sorted(unknown)}; there are {sorted(parts)}.")
        return MatrixFactorization(
            dim=self._dim,
            similarity=self.similarity,
            temperature=self.temperature,
            **(parts | modules),
        )
