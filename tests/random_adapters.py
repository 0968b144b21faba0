"""Adapters of random numbers on the small base of `base_maker`, and what they move it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from adapters import made
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor

from lorarec.lora.adapter import Adapter
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import Base, weights_digest
from lorarec.models.base import plain_tables
from lorarec.models.two_tower import TowerConfig, TwoTower

USERS, ITEMS, DIM = 6, 8, 4
IDS = ["new 0", "new 1", "new 2", "new 3"]

Build = Callable[[Base], Adapter]


@st.composite
def adapters(draw: st.DrawFn, kinds: tuple[str, ...] = ("lora", "full")) -> Callable[[Base], Any]:
    """An adapter of random numbers: any targets, ranks, scale, rows and grown ids."""
    kind = draw(st.sampled_from(kinds))
    rank = st.integers(1, DIM)
    targets = draw(st.sets(st.sampled_from(["users", "items", "transform"])))
    ranks = {} if kind == "full" else {name: draw(rank) for name in sorted(targets)}
    alpha = draw(st.sampled_from([0.5, 1.0, 3.0]))
    apart = [] if kind == "full" else [name for name in ("users", "items") if name not in ranks]
    whole = tuple(sorted(draw(st.sets(st.sampled_from(apart))))) if apart else ()
    values = st.sampled_from([0.25, 2.0])
    own = draw(st.dictionaries(st.sampled_from(sorted(ranks)), values)) if ranks else {}
    config = AdapterConfig(
        kind=kind,  # type: ignore[arg-type]
        ranks=ranks,
        whole=whole,
        bias=draw(st.booleans()),
        alpha=alpha,
        alphas=own,
    )
    rows = [sorted(draw(st.sets(st.integers(0, count - 1)))) for count in (USERS, ITEMS)]
    new = [draw(st.lists(st.sampled_from(IDS), unique=True)) for _ in range(2)]
    biased = sorted(draw(st.sets(st.integers(0, ITEMS + len(new[1]) - 1))))
    seed = draw(st.integers(0, 2**31))

    def build(base: Base) -> Adapter:
        generator = torch.Generator().manual_seed(seed)
        touched = Touched(
            torch.tensor(rows[0], dtype=torch.int64),
            torch.tensor(rows[1], dtype=torch.int64),
            torch.randn(len(new[0]), DIM, generator=generator),
            torch.randn(len(new[1]), DIM, generator=generator),
            torch.tensor(biased, dtype=torch.int64),
        )
        model = attach(base.model, config, touched).requires_grad_(False)
        for name, tensor in adapter_state(model).items():
            if not name.endswith("rows"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        state = adapter_state(model)
        if "bias.rows" in state and not len(state["bias.rows"]):
            state["bias.cold"].zero_()  # as without any β it always is
        return made(base, model, config, *new)

    return build


def adapter_of(
    base: Base,
    ranks: dict[str, int],
    seed: int = 0,
    kind: str = "lora",
    whole: tuple[str, ...] = (),
) -> Adapter:
    """Every row touched, nothing grown."""
    config = AdapterConfig(kind=kind, ranks=ranks, whole=whole, bias=True, alpha=1.5)  # type: ignore[arg-type]
    none = torch.empty(0, DIM)
    touched = Touched(torch.arange(USERS), torch.arange(ITEMS), none, none, torch.arange(ITEMS))
    model = attach(base.model, config, touched).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in adapter_state(model).items():
        if not name.endswith("rows"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return made(base, model, config, [], [])


def row_deltas(base: Base, adapter: Adapter, name: str) -> Tensor:
    """What the known rows of a table are moved by."""
    rows = torch.arange(len(getattr(base, name)))
    return (getattr(adapter.model, name)(rows) - getattr(base.model, name)(rows)).double()


def transform_delta(base: Base, adapter: Adapter) -> Tensor:
    """What vectors of length 1 are moved by, as a matrix."""
    unit = torch.eye(DIM)
    return (adapter.model.transform(unit) - base.model.transform(unit)).double()


def bias_delta(base: Base, adapter: Adapter, ids: list[str]) -> Tensor:
    """What is added to the base's bias of items by their ids; a constant of unknown ones."""
    rows = torch.from_numpy(adapter.items.rows(ids, missing="mark"))
    known = torch.from_numpy(base.items.rows(ids, missing="mark"))
    before = base.model.bias(known.clamp(min=0)) * (known >= 0)  # type: ignore[misc]
    return (adapter.model.bias(rows) - before).double()  # type: ignore[misc]


def as_towers(base: Base, history: str = "mean") -> Base:
    """Two towers over the same tables, with a history and a layer that do something."""
    tables = plain_tables(base.model)
    config = TowerConfig(layers=(5,), history=history)  # type: ignore[arg-type]
    had = sparse.csr_matrix(np.random.default_rng(0).integers(0, 2, (6, 8)))
    shape = (base.model.similarity, base.model.temperature, config, had)
    model = TwoTower.from_tables(tables["users"], tables["items"], *shape, bias=tables.get("bias"))
    generator = torch.Generator().manual_seed(8)
    for name, parameter in model.requires_grad_(False).named_parameters():
        if name not in ("users.weight", "items.weight"):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    known = {"model": "two-tower", "tower": config, "digest": weights_digest(model)}
    return replace(base, model=model, info=base.info.model_copy(update=known))
