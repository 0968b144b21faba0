"""A base and adapters of random numbers with their metadata, as training would leave them."""

from __future__ import annotations

import torch
from torch import Tensor

from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import Base, BaseInfo, library_versions, weights_digest
from lorarec.models.matrix_factorization import MatrixFactorization

SPLIT = SplitRecord(how="time", used="time", seed=0, valid_share=0.1, test_share=0.1)


def made_base(users: int, items: int, dim: int) -> Base:
    """A factorization without biases."""
    drawn = torch.Generator().manual_seed(0)
    tables = [torch.empty(n, dim).normal_(0, 0.1, generator=drawn) for n in (users, items)]
    model = MatrixFactorization.from_tables(*tables, "dot", 1.0).requires_grad_(False)
    known = [
        Vocabulary([f"{side}{n}" for n in range(count)])
        for side, count in (("u", users), ("i", items))
    ]
    info = BaseInfo(
        dim=dim,
        similarity="dot",
        temperature=1.0,
        bias=False,
        digest=weights_digest(model),
        weights_digest="",
        users=users,
        items=items,
        user_vocabulary=known[0].digest(),
        item_vocabulary=known[1].digest(),
        domains=["one"],
        excluded_domains=[],
        data=DataSource(paths=["logs.parquet"], digest="made"),
        split=SPLIT,
        seed=0,
        metrics={},
        versions=library_versions(),
    )
    return Base(model, *known, info)


def made_adapter(
    base: Base, config: AdapterConfig, items: Tensor, grown: int, seed: int
) -> Adapter:
    """An adapter of random numbers on some items, with grown users of its own.

    Args:
        base: As `made_base` makes it.
        config: Its shape.
        items: int64 (t,), sorted: rows it touches.
        grown: Users it adds to the base.
        seed: Of the numbers and of the grown users' names.
    """
    drawn = torch.Generator().manual_seed(seed)
    none = torch.empty(0, dtype=torch.int64)
    new = torch.randn(grown, base.model.dim, generator=drawn)
    touched = Touched(none, items, new, new[:0], items if config.bias else none)
    model = attach(base.model, config, touched).requires_grad_(False)
    for name, tensor in adapter_state(model).items():
        if not name.endswith("rows"):
            tensor.normal_(generator=drawn)
    ids = [f"new {seed} {n}" for n in range(grown)]
    info = AdapterInfo(
        domain=f"domain {seed}",
        config=config,
        dim=base.model.dim,
        digest=adapter_digest(model, (ids, [])),
        weights_digest="",
        base_digest=base.digest,
        base_users=len(base.users),
        base_items=len(base.items),
        user_vocabulary=base.info.user_vocabulary,
        item_vocabulary=base.info.item_vocabulary,
        data_digest="made",
        split=SPLIT,
        learning_rate=0.01,
        metrics={},
        parameters={},
        versions=library_versions(),
    )
    return Adapter(model, base.users.extend(ids), base.items, info)
