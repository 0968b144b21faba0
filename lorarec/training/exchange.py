"""Gradients of one batch, added up over the ranks that each computed a share of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lorarec.training.distributed import Ranks
from lorarec.training.optimizers import coalesced
from lorarec.training.sharded_table import ShardedTable

_NONE, _DENSE = -2.0, -1.0
"""Kinds of a gradient where it has no count of rows."""


def exchanged(
    parameters: Mapping[str, nn.Parameter],
    loss: float,
    fits: bool,
    ranks: Ranks,
    sharded: Mapping[str, ShardedTable] = MappingProxyType({}),
) -> float | None:
    """Replace each parameter's gradient by its sum over the ranks, and give the sum of the losses.

    Of a table the touched rows alone are sent: their numbers and gradients, all tables in one
    piece. Each rank gets all of them in the order of the ranks, and adds up rows that several have
    touched in that order: the gradients, and all that follows of them, are the same bits on every
    rank. A step takes four messages: what each rank has, rows, their gradients, dense gradients.
    Gradients of a sharded table go to the owners of its rows alone, in a message a lookup.

    Args:
        parameters: In the same order on every rank; gradients are float32.
        loss: This rank's part of the batch's.
        fits: False where this rank had no memory for its share.
        ranks: All must call this; one process alone has nothing to exchange.
        sharded: Those of the parameters that lie in shards.

    Returns:
        The batch's loss; None where a rank had no memory, and then gradients are as they were.
    """
    if not ranks.together:
        return loss if fits else None
    trained = [p for name, p in parameters.items() if name not in sharded]
    touched = [_rows(p) for p in trained]
    has = [
        _NONE if p.grad is None else _DENSE if found is None else float(len(found[0]))
        for p, found in zip(trained, touched, strict=True)
    ]
    by_rank = ranks.numbers([float(fits), loss, *has])
    if not all(values[0] for values in by_rank):
        return None
    counts = [[int(count) for count in values[2:]] for values in by_rank]
    kinds = [max(of_ranks) for of_ranks in zip(*counts, strict=True)]
    tables = [place for place, kind in enumerate(kinds) if kind >= 0]
    dense = [trained[place] for place, kind in enumerate(kinds) if kind == int(_DENSE)]
    _exchange_tables(
        [trained[place] for place in tables],
        [touched[place] for place in tables],
        [[max(own[place], 0) for place in tables] for own in counts],
        ranks,
    )
    _exchange_dense(dense, ranks)
    for table in sharded.values():
        table.settle()
    return sum(values[1] for values in by_rank)


def _rows(parameter: nn.Parameter) -> tuple[Tensor, Tensor] | None:
    """Distinct touched rows of a table and their gradients; None for what is no table."""
    if parameter.grad is None or not parameter.grad.is_sparse:
        return None
    return coalesced(parameter.grad)


def _exchange_tables(
    tables: list[nn.Parameter],
    touched: list[tuple[Tensor, Tensor] | None],
    counts: list[list[int]],
    ranks: Ranks,
) -> None:
    """Counts are the touched rows by rank and table."""
    if not tables:
        return
    device = tables[0].device
    widths = [math.prod(table.shape[1:]) for table in tables]
    sizes = [[count * width for count, width in zip(own, widths, strict=True)] for own in counts]
    mine = [found for found in touched if found is not None]
    # Every rank sends as much as the one that has the most: what lies behind is not looked at.
    own_rows = torch.zeros(max(map(sum, counts)), dtype=torch.int64, device=device)
    own_grads = torch.zeros(max(map(sum, sizes)), device=device)
    if mine:
        torch.cat([rows for rows, _ in mine], out=own_rows[: sum(counts[ranks.rank])])
        torch.cat([grads.flatten() for _, grads in mine], out=own_grads[: sum(sizes[ranks.rank])])
    parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in tables]
    rows_by_rank, grads_by_rank = ranks.gather(own_rows), ranks.gather(own_grads)
    for rank, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        rows = torch.split(rows_by_rank[rank][: sum(count)], count)
        grads = torch.split(grads_by_rank[rank][: sum(size)], size)
        for part, pair in zip(parts, zip(rows, grads, strict=True), strict=True):
            part.append(pair)
    for table, part in zip(tables, parts, strict=True):
        table.grad = torch.sparse_coo_tensor(
            torch.cat([rows for rows, _ in part]).unsqueeze(0),
            torch.cat([grads for _, grads in part]).view(-1, *table.shape[1:]),
            table.shape,
            check_invariants=False,
        )


def _exchange_dense(parameters: list[nn.Parameter], ranks: Ranks) -> None:
    if not parameters:
        return
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([grad.flatten() for grad in found])
    ranks.add_up(flat)
    parts = torch.split(flat, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view(parameter.shape)
