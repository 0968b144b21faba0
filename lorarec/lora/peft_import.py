"""An adapter out of a folder that PEFT, or an export, has written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from lorarec.errors import AdapterMismatchError, ConfigError, did_you_mean
from lorarec.lora.adapter import Adapter, AdapterInfo, check_base
from lorarec.lora.attach import linear_layers
from lorarec.lora.config import AdapterConfig
from lorarec.lora.derivation import Derivation
from lorarec.lora.derived import completed
from lorarec.lora.peft_format import PeftModule
from lorarec.lora.peft_reading import PeftFolder
from lorarec.lora.products import Product, truncated
from lorarec.lora.state import TABLES, AdapterState
from lorarec.lora.towers import read_by_histories
from lorarec.models.artefact import Base, library_versions
from lorarec.storage import sha256_bytes

NO_NAMES: Mapping[str, str] = MappingProxyType({})


def from_peft(
    base: Base, folder: PeftFolder, domain: str, names: Mapping[str, str] = NO_NAMES
) -> Adapter:
    """The adapter of a folder on a base: rows of A that are not zero become its touched rows.

    Factors keep their numbers where the scale can be said as alpha / √r with one alpha for all;
    else the factor that starts at zero takes up the difference. A rank above the largest is brought
    to it by a truncation that cuts nothing.

    Args:
        base: The one that the note names, or of the same shapes.
        folder: As `read_peft` gives it.
        domain: The adapter's.
        names: Target of the base → module of PEFT's, where they are called otherwise.

    Raises:
        AdapterMismatchError: The note names another base or other ids, or a shape is another.
        ConfigError: A module is none of the base's, or one that histories read; or nothing moves.
    """
    info = _info(base, folder, domain)
    check_base(info, base)
    known = {"users": info.base_users, "items": info.base_items}
    alpha = folder.config.lora_alpha if folder.config.use_rslora else 1.0
    alpha = alpha if alpha > 0 else 1.0
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for target, module in _targets(base, folder, names).items():
        _check_shape(base, known, target, module)
        scale = folder.config.scale(module.name, module.rank)
        found = _parts(target, module, scale, alpha, base.model.dim)
        if found:
            ranks[target] = min(module.rank, _largest(base, target))
            tensors |= {f"{target}.{part}": tensor for part, tensor in found.items()}
    if not ranks and not folder.extra:
        raise ConfigError(
            f"{folder.path} moves nothing: all its factors of rows are zero. Expected an adapter "
            f"that was trained; train it, then save it again."
        )
    none = torch.empty(0, base.model.dim)
    for name in TABLES:
        tensors.setdefault(f"{name}.rows", torch.empty(0, dtype=torch.int64))
        tensors[f"{name}.grown"] = folder.extra.get(f"{name}.grown", none)
    biased = len(folder.extra.get("bias.rows", ())) > 0
    if biased or base.model.bias is not None:
        tensors |= {
            "bias.rows": folder.extra.get("bias.rows", torch.empty(0, dtype=torch.int64)).long(),
            "bias.b": folder.extra.get("bias.b", torch.empty(0, 1)),
            "bias.cold": folder.extra.get("bias.cold", torch.zeros(1)),
        }
    state = AdapterState(
        config=AdapterConfig(ranks=ranks, bias=biased, alpha=alpha),
        tensors=tensors,
        scales={target: alpha / math.sqrt(rank) for target, rank in ranks.items()},
        grown=folder.grown,
        known=known,
        dim=base.model.dim,
        base_digest=base.digest,
        domain=domain,
    )
    parent = folder.note.adapter_digest if folder.note else folder.digest
    how = Derivation(how="peft-import", parents=[parent], weights=[1.0], kept={})
    return completed(base, state, how, info)


def _targets(base: Base, folder: PeftFolder, names: Mapping[str, str]) -> dict[str, PeftModule]:
    """What of the base each module moves."""
    layers = linear_layers(base.model)
    offered = [*TABLES, *layers]
    if unknown := sorted(set(names) - set(offered)):
        raise ConfigError(
            f"--name {unknown[0]}={names[unknown[0]]}: the base has no {unknown[0]!r} that PEFT "
            f"could move.{did_you_mean(unknown[0], offered)}"
        )
    there = [module.name for module in folder.modules]
    if missing := sorted(set(names.values()) - set(there)):
        raise ConfigError(
            f"{folder.path} has no module {missing[0]!r}.{did_you_mean(missing[0], there)}"
        )
    called = {module: target for target, module in names.items()}
    found: dict[str, PeftModule] = {}
    for module in folder.modules:
        target = called.get(module.name, module.name)
        if target not in offered or (target in TABLES) != module.embedding or target in found:
            kind = "an embedding" if module.embedding else "a linear layer"
            raise ConfigError(
                f"{folder.path} moves {module.name}, {kind}, and this base has no such one free: "
                f"embeddings are users and items, linear layers "
                f"{', '.join(layers) or 'there are none'}. Expected those, or a word on which it "
                f"is: --name {TABLES[1]}={module.name}"
            )
        found[target] = module
    if read := read_by_histories(base.model, found):
        raise ConfigError(
            f"{folder.path} moves {', '.join(read)}. In PEFT users' histories read what moved, and "
            f"here they go on reading the base's. Expected an adapter without them; train it with "
            f"other target_modules."
        )
    return found


def _check_shape(base: Base, known: Mapping[str, int], target: str, module: PeftModule) -> None:
    if target in TABLES:
        into, out = known[target], base.model.dim
    else:
        layer = linear_layers(base.model)[target]
        into, out = layer.in_features, layer.out_features
    if (module.a.shape[1], len(module.b)) != (into, out):
        raise AdapterMismatchError(
            f"A and B of {module.name} are {tuple(module.a.shape)} and {tuple(module.b.shape)}; "
            f"{target} of this base asks for (r, {into}) and ({out}, r). Expected an adapter of "
            f"this base: name its own with --base."
        )


def _largest(base: Base, target: str) -> int:
    if target in TABLES:
        return base.model.dim
    layer = linear_layers(base.model)[target]
    return min(layer.in_features, layer.out_features)


def _parts(
    target: str, module: PeftModule, scale: float, alpha: float, dim: int
) -> dict[str, Tensor]:
    """The factors under our names; nothing for a table of which no row moves."""
    a, b = module.a, module.b
    if target in TABLES:
        rows = torch.nonzero(a.any(0)).squeeze(1)
        if not len(rows) or not scale:
            return {}
        left, right = _scaled(Product(a[:, rows].T, b.T), scale, alpha, dim)
        return {"rows": rows, "a": left, "b": right}
    if target == "transform":
        left, right = _scaled(Product(a.T, b.T), scale, alpha, dim)
        return {"p": left, "q": right}
    left, right = _scaled(Product(b, a), scale, alpha, min(len(b), a.shape[1]))
    return {"b": left, "a": right}


def _scaled(product: Product, scale: float, alpha: float, largest: int) -> tuple[Tensor, Tensor]:
    """Left and right of rank `largest` at most, under the scale alpha / √r of that rank."""
    if product.rank > largest:
        product, _ = truncated(product, largest)
        short = largest - product.rank  # of fewer rows than that
        left = functional.pad(product.left, (0, short))
        product = Product(left, functional.pad(product.right, (0, 0, 0, short)))
    own = alpha / math.sqrt(product.rank)
    left = product.left if math.isclose(own, scale, rel_tol=1e-12) else product.left * (scale / own)
    return left.float().contiguous(), product.right.float().contiguous()


def _info(base: Base, folder: PeftFolder, domain: str) -> AdapterInfo:
    """The record so far: which base, which rows and which logs."""
    note = folder.note
    return AdapterInfo(
        domain=domain,
        config=AdapterConfig(),
        dim=base.model.dim,
        digest=sha256_bytes(),
        weights_digest=sha256_bytes(),
        base_digest=note.base_digest if note else base.digest,
        base_users=note.users if note else len(base.users),
        base_items=note.items if note else len(base.items),
        user_vocabulary=note.user_vocabulary if note else base.users.digest(),
        item_vocabulary=note.item_vocabulary if note else base.items.digest(),
        data_digest=note.data_digest if note else "",
        split=note.split if note else base.info.split,
        learning_rate=0.0,
        metrics={},
        parameters={"factors": 0, "grown": 0, "full": 0},
        versions=library_versions(),
    )
