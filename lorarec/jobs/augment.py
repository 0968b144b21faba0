"""The factors of adapters, as the index of all domains takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from lorarec.errors import AdapterMismatchError
from lorarec.lora.adapter import Adapter
from lorarec.lora.layers import FullRows, LoRAEmbedding, LoRATransform
from lorarec.models.artefact import Base
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.retrieval.augmented import AugmentedIndex, DomainFactors

Array = np.ndarray[Any, Any]


def augmented_index(base: Base) -> AugmentedIndex:
    """The items of a base, ready to take domains.

    Raises:
        AdapterMismatchError: Its item vectors are not rows of a table.
    """
    if not isinstance(base.model, MatrixFactorization):
        raise AdapterMismatchError(
            f"The base is a {base.info.model} model, whose layers and features stand between the "
            f"table and the vectors of items. Expected a matrix factorization, where a domain's "
            f"delta can be taken apart; build an index for each domain instead: lorarec index "
            f"build --domain D --out DIR"
        )
    with torch.no_grad():
        vectors = base.model.item_inputs(torch.arange(len(base.items)))
    return AugmentedIndex(vectors.numpy(), base.model.similarity == "cosine")


@torch.no_grad()
def domain_factors(base: Base, adapter: Adapter | None, catalogue: pl.Series) -> DomainFactors:
    """What an adapter adds for the items of a catalogue.

    Args:
        base: Of `augmented_index`.
        adapter: On it; None is the bare base.
        catalogue: Ids of items, each with a vector.

    Raises:
        AdapterMismatchError: Some of them have none.
    """
    source = adapter or base
    rows = source.items.rows(catalogue, missing="mark")
    if (rows < 0).any():
        some = catalogue.filter(pl.Series(rows < 0)).head(5).to_list()
        raise AdapterMismatchError(
            f"{(rows < 0).sum():,} items of the catalogue have no vector, the first {some}. "
            f"Expected items that base or adapter know; adapt again on the newer logs."
        )
    base_rows = base.items.rows(catalogue, missing="mark")
    model, dim = source.model, base.model.dim
    a: Array = np.zeros((len(rows), 0), np.float32)
    b: Array = np.zeros((0, dim), np.float32)
    items = model.items
    if isinstance(items, LoRAEmbedding | FullRows):
        # An id that the adapter has grown keeps its vector there, whatever the base has gained.
        grown = (rows >= items.base_rows) & (rows < items.base_rows + len(items.grown))
        base_rows[grown] = -1
        slots, touched = _slots(items.rows.numpy(), rows)
        touched &= ~grown
        if isinstance(items, FullRows):
            base_rows[touched] = -1
        elif len(items.rows):
            a = np.zeros((len(rows), items.a.shape[1]), np.float32)
            a[touched] = items.a.numpy()[slots[touched]]
            b = items.scale * items.b.numpy()
    own = model.item_inputs(torch.from_numpy(rows[base_rows < 0])).numpy()
    p: Array = np.zeros((dim, 0), np.float32)
    q: Array = np.zeros((0, dim), np.float32)
    if isinstance(model.transform, LoRATransform):
        p, q = model.transform.scale * model.transform.p.numpy(), model.transform.q.numpy()
    bias = model.item_bias(torch.from_numpy(rows))
    return DomainFactors(base_rows, a, b, own, p, q, None if bias is None else bias.numpy())


def _slots(touched: Array, rows: Array) -> tuple[Array, Array]:
    """Place among touched rows, and whether it is one."""
    if not len(touched):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    slots = np.minimum(np.searchsorted(touched, rows), len(touched) - 1)
    return slots, touched[slots] == rows
