"""Attach an adapter to a base, turn it off, take its state, merge it into a copy.

The base is never edited. Attaching makes a new model that shares the base's modules and tables and
has the adapter's modules in place of some of them; to detach is to go on with the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lorarec.errors import AdapterMismatchError
from lorarec.lora.config import AdapterConfig
from lorarec.lora.delta import Delta
from lorarec.lora.layers import (
    Appended,
    DomainBias,
    FullRows,
    LoRAEmbedding,
    LoRATransform,
    RowTable,
)
from lorarec.lora.linear import FullLinear, LinearDelta, LoRALinear
from lorarec.lora.towers import plain_layer, tower_deltas, tower_layers, with_layers
from lorarec.models.base import BaseModel, ItemBias, table_of
from lorarec.models.matrix_factorization import MatrixFactorization

SLOTS = ("users", "items", "transform", "bias")
"""The named modules of a model that an adapter can stand in for, besides layers of towers."""


@dataclass(frozen=True)
class Touched:
    """The rows an adapter may move, each sorted and distinct, and the ids it adds to the base."""

    users: Tensor
    """int64 (t_u,): users of the domain that the base knows."""
    items: Tensor
    """int64 (t_i,): items of the domain that the base knows."""
    grown_users: Tensor
    """float32 (g_u, d): initial vectors of users that the base does not know."""
    grown_items: Tensor
    """float32 (g_i, d): initial vectors of items that the base does not know."""
    bias: Tensor
    """int64: items with a bias, grown ones included."""


def attach(
    base: BaseModel,
    config: AdapterConfig,
    touched: Touched,
    appended: Mapping[str, Appended] = MappingProxyType({}),
) -> BaseModel:
    """A model that shares the base's weights, frozen, and has a fresh adapter.

    Attached, it scores as the base does, to the bit: every delta starts at zero. A search moves its
    bias before the first step, to what pretraining learnt of the domain. Grown rows exist whatever
    the targets are, since an id without a row could not be scored.

    Args:
        base: With `nn.Embedding` tables for users and items.
        config: Shape of the adapter.
        touched: Rows of the domain.
        appended: What `users` and `items` of the base have gained since the adapter was trained.
    """
    generator = torch.Generator().manual_seed(config.seed)
    modules: dict[str, nn.Module | None] = {}
    for name, rows, grown in (
        ("users", touched.users, touched.grown_users),
        ("items", touched.items, touched.grown_items),
    ):
        table = _table(base, name)
        if config.kind == "full" or name in config.whole:
            modules[name] = FullRows(table, rows, grown, appended.get(name))
            continue
        rank = config.ranks.get(name)
        # Without a target of its own a table still carries the grown rows, and no touched ones.
        modules[name] = LoRAEmbedding(
            table,
            rows if rank else rows[:0],
            grown,
            rank or 1,
            config.alpha_of(name),
            generator,
            appended.get(name),
        )
    if "transform" in config.ranks:
        rank = config.ranks["transform"]
        last = base.transform if isinstance(base.transform, nn.Linear) else None
        modules["transform"] = LoRATransform(
            base.dim, rank, config.alpha_of("transform"), generator, last
        )
    if config.bias or base.bias is not None:
        # Without the target it still carries the grown items, which the base's bias lacks.
        own = touched.bias if config.bias else touched.bias[:0]
        count = len(touched.grown_items)
        modules["bias"] = DomainBias(_base_bias(base), own, count, appended.get("items"))
    modules |= with_layers(base, _layers(base, config, generator))
    if "transform" in config.whole and isinstance(base.transform, nn.Linear):
        modules["transform"] = FullLinear(base.transform)
    return base.replaced(**modules)


def linear_layers(model: BaseModel) -> dict[str, nn.Linear]:
    """All linear layers of a base: those of its towers, and `transform` where it is one.

    Of an adapted model they are the base's, which the adapter's stand in for.
    """
    last = plain_layer(model.transform)
    return ({} if last is None else {"transform": last}) | tower_layers(model)


def deltas(model: BaseModel) -> dict[str, Delta]:
    """The adapter's modules by the name of what they stand in for; empty for a base."""
    found = ((name, getattr(model, name)) for name in SLOTS)
    own = {name: module for name, module in found if isinstance(module, Delta)}
    return own | tower_deltas(model)


def adapter_parameters(model: BaseModel) -> dict[str, nn.Parameter]:
    """The adapter's trainable parameters, such as `users.a`, without empty ones."""
    return {
        f"{name}.{part}": parameter
        for name, module in deltas(model).items()
        for part, parameter in module.named_parameters(recurse=False)
        if parameter.numel() and not _unused(module, part)
    }


def adapter_state(model: BaseModel) -> dict[str, Tensor]:
    """All tensors of the adapter, its touched rows included, as `restore` takes them."""
    return {
        f"{name}.{part}": tensor.detach()
        for name, module in deltas(model).items()
        for part, tensor in module.state_dict().items()
        if not part.startswith("base.") and not _unused(module, part)
    }


def restore(
    base: BaseModel,
    config: AdapterConfig,
    state: Mapping[str, Tensor],
    appended: Mapping[str, Appended] = MappingProxyType({}),
) -> BaseModel:
    """The adapted model that `adapter_state` was taken of, on the base as it is now.

    Raises:
        AdapterMismatchError: The state does not have the tensors, or the shapes, of `config`.
    """
    none = torch.empty(0, dtype=torch.int64)
    no_vectors = torch.empty(0, base.dim)
    touched = Touched(
        users=state.get("users.rows", none),
        items=state.get("items.rows", none),
        grown_users=state.get("users.grown", no_vectors),
        grown_items=state.get("items.grown", no_vectors),
        bias=state.get("bias.rows", none),
    )
    model = attach(base, config, touched, appended)
    expected = adapter_state(model)
    wrong = sorted(
        name
        for name in expected.keys() | state.keys()
        if name not in state
        or name not in expected
        or state[name].shape != expected[name].shape
        or (name.endswith(".grown") and state[name].shape[1:] != (base.dim,))
        or not bool(torch.isfinite(state[name].double()).all())
    )
    if wrong:
        raise AdapterMismatchError(
            f"The adapter's tensors do not fit its metadata or are not finite: {wrong[:5]}. "
            f"Expected those of {config.describe()} at dimension {base.dim}. "
            f"The artefact was edited; adapt again."
        )
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(state[name])
    return model


@contextmanager
def disabled(model: BaseModel) -> Iterator[BaseModel]:
    """Scores inside the block are the base's, bit for bit; grown rows keep their vectors."""
    before = {name: module.enabled for name, module in deltas(model).items()}
    try:
        for module in deltas(model).values():
            module.enabled = False
        yield model
    finally:
        for name, module in deltas(model).items():
            module.enabled = before[name]


def merged(model: BaseModel) -> BaseModel:
    """A copy with the row deltas and those of layers written into tables and layers of its own.

    The copy has n + g rows a table and no adapter but the domain's bias. Its scores equal the
    adapted model's to rounding; the base's tables are copied, never edited.
    """
    tables = {}
    transform = model.transform
    with torch.no_grad():
        for name in ("users", "items"):
            module = getattr(model, name)
            count = len(module) if isinstance(module, RowTable) else module.num_embeddings
            tables[name] = module(torch.arange(count)).clone()
        if isinstance(model, MatrixFactorization):
            # Nothing stands between the table and the transform: it goes into the rows.
            tables["items"], transform = transform(tables["items"]), nn.Identity()
        elif isinstance(transform, LoRATransform | FullLinear):
            transform = transform.merged()
    layers = {
        name: module.merged()
        for name, module in tower_deltas(model).items()
        if isinstance(module, LinearDelta)
    }
    modules: dict[str, nn.Module] = {name: table_of(table) for name, table in tables.items()}
    return model.replaced(transform=transform, **modules, **with_layers(model, layers))


def _layers(
    base: BaseModel, config: AdapterConfig, generator: torch.Generator
) -> dict[str, nn.Module]:
    """What stands in for linear layers of towers."""
    there = tower_layers(base)
    own = [name for name in config.whole if name not in SLOTS]
    if unknown := sorted({*own, *config.ranked_layers} - set(there)):
        raise AdapterMismatchError(
            f"The adapter has the targets {unknown[:5]}, which this base has not. Expected layers "
            f"of the base it was trained on, {', '.join(there) or 'which has none'}."
        )
    return {name: FullLinear(there[name]) for name in own} | {
        name: LoRALinear(there[name], config.ranks[name], config.alpha_of(name), generator)
        for name in config.ranked_layers
    }


def _table(base: BaseModel, name: str) -> nn.Embedding:
    module = getattr(base, name)
    if not isinstance(module, nn.Embedding):
        raise AdapterMismatchError(
            f"The base's {name} are a {type(module).__name__}. Expected a plain table: "
            f"attach an adapter to the base itself, not to an adapted model."
        )
    return module


def _base_bias(base: BaseModel) -> ItemBias | None:
    bias = base.bias
    if bias is None or isinstance(bias, ItemBias):
        return bias
    raise AdapterMismatchError(
        f"The base's bias is a {type(bias).__name__}. Expected a plain one or none: attach an "
        f"adapter to the base itself, not to an adapted model."
    )


def _unused(module: Delta, part: str) -> bool:
    """Whether a factor moves nothing as no row is touched: it is neither trained nor stored."""
    return isinstance(module, LoRAEmbedding) and not len(module.rows) and part in ("a", "b")
