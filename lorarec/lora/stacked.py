"""Adapters of several domains over one base, stacked into one model whose batches mix domains.

Row i of domain k is the row k · stride + i of the stacked table, the stride being the rows of the
longest domain, and what moves it is keyed by that number. A step over many small domains, or the
scores of a mixed batch, then take one lookup and, for each domain that occurs, one small product,
where the models one by one would each walk through all of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lorarec.errors import AdapterMismatchError
from lorarec.lora.layers import DomainBias, LoRAEmbedding, LoRATransform
from lorarec.models.base import BaseModel, ItemBias
from lorarec.models.matrix_factorization import MatrixFactorization


class StackedRows(nn.Module):
    """Row LoRA of D domains on one table, each followed by its own transform where it has one.

        e = E_i + s · a_(k,i) B_k,    then    e + s' · (e P_k) Q_k

    for row i of domain k; an untouched row has no a, a grown row its own vector. B is (D, r, d), P
    and Q alike, and their gradients are sparse: a batch's domains alone.

    Args:
        tables: One a domain, on one base and of one rank.
        transforms: One a domain and of one rank, or none.
    """

    def __init__(
        self, tables: Sequence[LoRAEmbedding], transforms: Sequence[LoRATransform] = ()
    ) -> None:
        super().__init__()
        object.__setattr__(self, "base", tables[0].base)  # shared, and not a parameter
        self.base: nn.Embedding
        self.base_rows, self.scale = tables[0].base_rows, tables[0].scale
        self.stride = max(len(table) for table in tables)
        """Rows of the stacked table that each domain has; behind its own ones there is nothing."""
        self.domains = len(tables)
        self.register_buffer("rows", _keyed([table.rows for table in tables], self.stride))
        self.rows: Tensor
        counts = torch.tensor([len(table.grown) for table in tables])
        self.register_buffer("before", counts.cumsum(0) - counts - self.base_rows)
        self.before: Tensor
        """What is added to the row of a domain's grown id to give its place in `grown`."""
        self.a = nn.Parameter(torch.cat([table.a.detach() for table in tables]))
        self.b = nn.Parameter(torch.stack([table.b.detach() for table in tables]))
        self.grown = nn.Parameter(torch.cat([table.grown.detach() for table in tables]))
        self.p = self.q = None
        if transforms:
            self.transform_scale = transforms[0].scale
            self.p = nn.Parameter(torch.stack([each.p.detach() for each in transforms]))
            self.q = nn.Parameter(torch.stack([each.q.detach() for each in transforms]))

    def __len__(self) -> int:
        return self.stride * self.domains

    def forward(self, rows: Tensor) -> Tensor:
        domains = rows // self.stride
        own = rows - domains * self.stride
        vectors = functional.embedding(own.clamp(max=self.base_rows - 1), self.base.weight.detach())
        if len(self.rows):
            slots, places = _found(self.rows, rows)
            factors = functional.embedding(slots, self.a, sparse=True)
            if len(places) == len(rows):  # as in training; without a copy, and to the same bits
                vectors = vectors + self.scale * grouped(factors, self.b, domains)
            else:
                delta = grouped(factors, self.b, domains.index_select(0, places))
                vectors = vectors.index_add(0, places, self.scale * delta)
        if len(self.grown):
            places = torch.nonzero(own >= self.base_rows).squeeze(-1)
            at = own + self.before.index_select(0, domains)
            at = at.index_select(0, places)
            new = functional.embedding(at, self.grown, sparse=True)
            vectors = vectors.index_put((places,), new)
        if self.p is None or self.q is None:
            return vectors
        moved = grouped(grouped(vectors, self.p, domains), self.q, domains)
        return vectors + self.transform_scale * moved


class StackedBias(nn.Module):
    """The domain biases of D domains: b_i + β_(k,i), or the constant of domain k for other items.

    Args:
        biases: One a domain, on one base.
        stride: Rows of the stacked table that each domain has.
    """

    def __init__(self, biases: Sequence[DomainBias], stride: int) -> None:
        super().__init__()
        object.__setattr__(self, "base", biases[0].base)  # shared, and not a parameter
        self.base: ItemBias | None
        self.register_buffer("rows", _keyed([each.rows for each in biases], stride))
        self.rows: Tensor
        self.stride = stride
        self.register_buffer("cold", torch.cat([each.cold for each in biases]))
        self.cold: Tensor
        self.b = nn.Parameter(torch.cat([each.b.detach() for each in biases]))

    def forward(self, rows: Tensor) -> Tensor:
        domains = rows // self.stride
        values = self.cold.index_select(0, domains)
        if len(self.rows):
            slots, places = _found(self.rows, rows)
            own = functional.embedding(slots, self.b, sparse=True).squeeze(-1)
            values = values.index_put((places,), own)
        if self.base is None:
            return values
        own_rows = rows - domains * self.stride
        known = own_rows < len(self.base)
        base = self.base.table.weight.detach()[own_rows.clamp(max=len(self.base) - 1), 0]
        return values + torch.where(known, base, torch.zeros_like(base))


def stacked(models: Sequence[BaseModel]) -> MatrixFactorization:
    """One model of the adapted models of D domains over one factorization; it copies the factors.

    It scores and trains as any model does: user u of domain k is row k · `users.stride` + u, grown
    ones included, and item i is row k · `items.stride` + i.

    Args:
        models: As `attach` gives them, all with the same targets and ranks.

    Raises:
        AdapterMismatchError: They are not over one base, or of one shape.
    """
    if not models:
        raise AdapterMismatchError("There is no model to stack. Expected at least one.")
    first = models[0]
    for place, model in enumerate(models):
        if (found := _shape(model)) != (expected := _shape(first)):
            raise AdapterMismatchError(
                f"Adapter {place} has {found}, and the first has {expected}. Expected row adapters "
                f"of the same ranks over one matrix factorization, none with whole rows, on a base "
                f"that has gained no rows since; score those that differ one by one."
            )
    transforms = [model.transform for model in models]
    has_transform = isinstance(first.transform, LoRATransform)
    tables = {name: [getattr(model, name) for model in models] for name in ("users", "items")}
    items = StackedRows(tables["items"], transforms if has_transform else ())  # type: ignore[arg-type]
    has_bias = isinstance(first.bias, DomainBias)
    biases = StackedBias([model.bias for model in models], items.stride) if has_bias else None  # type: ignore[misc]
    return MatrixFactorization(
        StackedRows(tables["users"]),
        items,
        first.dim,
        first.similarity,
        first.temperature,
        bias=biases,
    )


@torch.no_grad()
def unstacked(stack: MatrixFactorization, models: Sequence[BaseModel]) -> None:
    """Write the factors of a stack, trained by now, back into the models it was made of."""
    for name in ("users", "items"):
        table, owns = getattr(stack, name), [getattr(model, name) for model in models]
        for own, a in zip(owns, torch.split(table.a, [len(own.a) for own in owns]), strict=True):
            own.a.copy_(a)
        grown = torch.split(table.grown, [len(own.grown) for own in owns])
        for own, b, vectors in zip(owns, table.b, grown, strict=True):
            own.b.copy_(b)
            own.grown.copy_(vectors)
    items: Any = stack.items
    if items.p is not None:
        for model, p, q in zip(models, items.p, items.q, strict=True):
            model.transform.p.copy_(p)  # type: ignore[operator]
            model.transform.q.copy_(q)  # type: ignore[operator]
    if isinstance(stack.bias, StackedBias):
        owns = [model.bias for model in models]
        for own, b in zip(owns, torch.split(stack.bias.b, [len(o.b) for o in owns]), strict=True):
            own.b.copy_(b)


def grouped(vectors: Tensor, matrices: Tensor, domains: Tensor) -> Tensor:
    """Each row times the matrix of its domain: x_i W_(k_i), a product for each domain that occurs.

    Args:
        vectors: float32 (n, p).
        matrices: float32 (D, p, q); its gradient is sparse, in the domains that occur.
        domains: int64 (n,): k of each row, in any order.

    Returns:
        float32 (n, q).
    """
    if bool((domains[1:] >= domains[:-1]).all()):
        found: Tensor = _Grouped.apply(vectors, matrices, domains)  # type: ignore[no-untyped-call]
        return found
    order = torch.argsort(domains, stable=True)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    in_order = grouped(vectors.index_select(0, order), matrices, domains.index_select(0, order))
    return in_order.index_select(0, back)


class _Grouped(torch.autograd.Function):
    """`grouped` of rows that are sorted by domain; autograd's own would take a node a domain."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, matrices: Tensor, domains: Tensor) -> Tensor:
        present, counts = torch.unique_consecutive(domains, return_counts=True)
        ctx.save_for_backward(vectors, matrices, present)
        ctx.counts = counts.tolist()
        out = vectors.new_empty(len(vectors), matrices.shape[2])
        own = matrices.index_select(0, present)
        for x, w, y in zip(
            torch.split(vectors, ctx.counts), own, torch.split(out, ctx.counts), strict=True
        ):
            torch.mm(x, w, out=y)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        vectors, matrices, present = ctx.saved_tensors
        parts = torch.split(grad, ctx.counts)
        of_vectors = of_matrices = None
        if ctx.needs_input_grad[0]:
            of_vectors = torch.empty_like(vectors)
            own = matrices.index_select(0, present).mT
            for g, w, y in zip(parts, own, torch.split(of_vectors, ctx.counts), strict=True):
                torch.mm(g, w, out=y)
        if ctx.needs_input_grad[1]:
            values = matrices.new_empty(len(present), *matrices.shape[1:])
            for x, g, y in zip(torch.split(vectors, ctx.counts), parts, values, strict=True):
                torch.mm(x.T, g, out=y)
            of_matrices = torch.sparse_coo_tensor(
                present.unsqueeze(0),
                values,
                matrices.shape,
                is_coalesced=True,
                check_invariants=False,
            )
        return of_vectors, of_matrices, None


def _shape(model: BaseModel) -> str:
    """What has to be the same to be stacked, in words."""
    if not isinstance(model, MatrixFactorization):
        return f"a {type(model).__name__}"
    parts = []
    for name in ("users", "items"):
        table = getattr(model, name)
        if not isinstance(table, LoRAEmbedding) or len(table.later):
            return f"{name} that are a {type(table).__name__}" + (
                " with later rows" if isinstance(table, LoRAEmbedding) else ""
            )
        base = table.base.weight.data_ptr()
        parts.append(f"{name}:{len(table.b)} times {table.scale:g} on table {base:x}")
    transform = model.transform
    if isinstance(transform, LoRATransform) and transform.base is None:
        parts.append(f"transform:{len(transform.q)} times {transform.scale:g}")
    elif not isinstance(transform, nn.Identity):
        return f"a {type(transform).__name__} that is no LoRA on the identity"
    return ", ".join([*parts, f"a bias of {type(model.bias).__name__}"])


def _keyed(rows: Sequence[Tensor], stride: int) -> Tensor:
    """Rows of the domains as rows of a stacked table: int64 (Σ t,), ascending."""
    return torch.cat([own + k * stride for k, own in enumerate(rows)])


def _found(known: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Places in `known`, sorted, of the rows that are there, and which of the rows they are."""
    slots = torch.searchsorted(known, rows.contiguous()).clamp_(max=len(known) - 1)
    places = torch.nonzero(known.index_select(0, slots) == rows).squeeze(-1)
    return slots.index_select(0, places), places
