"""An adapter with room for more ids: it scores whatever it knew as before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lorarec.data.vocabulary import Ids, Vocabulary
from lorarec.lora.adapter import Adapter, on_base
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.state import TABLES, AdapterState
from lorarec.models.artefact import Base

ROW_PARTS = ("a", "d")
"""Parts of `users` and `items` with one entry a touched row."""


@dataclass(frozen=True, eq=False)
class More:
    """Ids of a table that an adapter is to have rows for."""

    rows: Tensor
    """int64 (m,), sorted and distinct: all of them, as rows behind which nothing was appended: the
    base's of then, the adapter's grown ones, the new grown ones."""
    grown: list[str]
    """Those that neither the base had then nor the adapter has grown, in their rows' order."""
    known: int
    """Rows of the base then."""
    had: int
    """Rows the adapter has grown."""

    @property
    def in_base(self) -> Tensor:
        """Those that the base knew."""
        return self.rows[self.rows < self.known]


def more_of(base: Base, state: AdapterState, ids: Mapping[str, Ids]) -> dict[str, More]:
    """Where ids stand beside an adapter.

    Args:
        base: The adapter's, as it is now. What was appended to it since counts as not known: such
            an id is grown.
        state: The adapter.
        ids: Of `users` and `items`, repeats allowed.
    """
    found = {}
    for name, vocabulary in (("users", base.users), ("items", base.items)):
        known = state.known[name]
        then = Vocabulary.of_distinct(vocabulary.series.head(known)).extend(state.grown[name])
        now = then.extend(ids[name])
        rows = np.unique(now.rows(ids[name]))
        grown = [str(each) for each in now.ids[len(then) :]]
        found[name] = More(torch.from_numpy(rows), grown, known, len(then) - known)
    return found


def extended(
    base: Base, adapter: Adapter, more: Mapping[str, More], grown: Mapping[str, Tensor]
) -> Adapter:
    """The adapter with rows for more ids: a = 0 for those that the base knows, β = the constant.

    Args:
        base: Of the adapter.
        adapter: Stays as it is; nothing is shared.
        more: As `more_of` gives it.
        grown: float32 (g, d): first vectors of the new grown `users` and `items`.

    Returns:
        An adapter of the same shape; its digest and metrics are yet to be made.
    """
    state = AdapterState.of(adapter)
    old = state.tensors
    none = torch.empty(0, base.model.dim)
    touched = Touched(
        users=_union(state.rows("users"), more["users"].in_base),
        items=_union(state.rows("items"), more["items"].in_base),
        grown_users=torch.cat([old.get("users.grown", none), grown["users"]]),
        grown_items=torch.cat([old.get("items.grown", none), grown["items"]]),
        bias=_union(state.rows("bias"), more["items"].rows),
    )
    fresh = adapter_state(attach(base.model, state.config, touched))
    tensors = {name: tensor.clone() for name, tensor in fresh.items()}
    for name, tensor in old.items():
        table, _, part = name.rpartition(".")
        if part in ("rows", "grown") or (table in TABLES and name not in tensors):
            continue
        if table in TABLES and part in ROW_PARTS:
            tensors[name][_places(tensors, old, table)] = tensor
        elif name == "bias.b":
            tensors[name].fill_(float(old["bias.cold"]))  # as the adapter scored them so far
            tensors[name][_places(tensors, old, table)] = tensor
        else:
            tensors[name].copy_(tensor)
    ids = {name: [*state.grown[name], *more[name].grown] for name in TABLES}
    return on_base(base, adapter.info, tensors, ids)


def entries(state: Mapping[str, Tensor], more: Mapping[str, More]) -> dict[str, Tensor]:
    """Which entries of the row parts of an extended adapter belong to some ids.

    Args:
        state: Its tensors.
        more: The ids.

    Returns:
        Part, such as `users.a`, `items.grown` or `bias.b` → bool (n,).
    """
    found = {}
    for name, tensor in state.items():
        table, _, part = name.rpartition(".")
        if table in TABLES and part in ROW_PARTS:
            found[name] = torch.isin(state[f"{table}.rows"], more[table].rows)
        elif part == "grown":
            own = torch.arange(len(tensor)) + more[table].known
            found[name] = torch.isin(own, more[table].rows)
        elif name == "bias.b":
            found[name] = torch.isin(state["bias.rows"], more["items"].rows)
    return found


def _union(before: Tensor, more: Tensor) -> Tensor:
    union: Tensor = torch.unique(torch.cat([before, more]))
    return union


def _places(now: Mapping[str, Tensor], before: Mapping[str, Tensor], table: str) -> Tensor:
    places: Tensor = torch.searchsorted(now[f"{table}.rows"], before[f"{table}.rows"])
    return places
