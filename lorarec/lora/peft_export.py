"""An adapter in PEFT's format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.errors import ConfigError
from lorarec.lora.adapter import Adapter, AdapterInfo, ids_packed
from lorarec.lora.algebra import with_one_alpha
from lorarec.lora.peft_format import CONFIG, EXTRA, NOTE, WEIGHTS, PeftModule, PeftNote
from lorarec.lora.products import Product, stacked, truncated
from lorarec.lora.state import TABLES, AdapterState
from lorarec.lora.towers import read_by_histories
from lorarec.models.artefact import Base
from lorarec.models.base import plain_tables
from lorarec.record import save_record
from lorarec.storage import sha256_file, write_json, write_tensors

Rest = Literal["beside", "drop"]


@dataclass(frozen=True, eq=False)
class PeftExport:
    """An adapter as PEFT holds it, and what it does not."""

    modules: list[PeftModule]
    alpha: float
    """Of all modules: s = alpha / √r."""
    folded: bool
    """Whether the transform of a base that has no layer for it is in the items' rows."""
    rest: dict[str, int]
    """What PEFT has no place for: rows of the `bias`, of `grown users` and `grown items`."""
    kept: Rest | None
    """What becomes of the rest; None where there is none."""
    state: AdapterState
    info: AdapterInfo

    def config(self) -> dict[str, Any]:
        """`adapter_config.json`."""
        rank = max(module.rank for module in self.modules)
        return {
            "peft_type": "LORA",
            "task_type": None,
            "base_model_name_or_path": None,
            "inference_mode": True,
            # One expression, so that no other module is meant whose name ends the same.
            "target_modules": f"({'|'.join(re.escape(module.name) for module in self.modules)})",
            "r": rank,
            "rank_pattern": {
                f"^{re.escape(module.name)}": module.rank
                for module in self.modules
                if module.rank != rank
            },
            "lora_alpha": int(self.alpha) if self.alpha.is_integer() else self.alpha,
            "alpha_pattern": {},
            "use_rslora": True,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": False,
            "init_lora_weights": True,
        }


def peft_export(base: Base, adapter: Adapter, rest: Rest | None = None) -> PeftExport:
    """An adapter as low-rank factors of the base's modules `users`, `items` and linear layers.

    The transform of a matrix factorization, which has no last layer, goes into the items' rows. It
    is of low rank there too, so nothing is lost and ranks add up:

        (e_i + s a_i B) (I + M) = e_i + [s a_i, (e_i + s a_i B) L] [B; R]   with M = L R

    Args:
        base: Of the adapter.
        adapter: On it.
        rest: What becomes of that which PEFT has no place for: `beside` in a file that only
            lorarec reads, or `drop`.

    Raises:
        ConfigError: It is full fine-tuning, moves no module, or a layer that histories read too,
            was trained before the base gained rows, or has something that PEFT has no place for
            and `rest` does not say what then.
    """
    state = with_one_alpha(AdapterState.of(adapter))
    _check(base, state)
    modules, folded = _modules(base, state)
    there = {
        "bias": len(state.rows("bias")),
        "grown users": len(state.grown["users"]),
        "grown items": len(state.grown["items"]),
    }
    left = {name: count for name, count in there.items() if count}
    if not modules:
        raise ConfigError(
            f"The adapter of {state.domain!r} moves no row and no layer ({_listed(left)}): PEFT "
            f"would have nothing. Expected one with factors: lorarec adapt --domain {state.domain} "
            f"--targets users:8,items:8"
        )
    if left and rest is None:
        raise ConfigError(
            f"PEFT has no place for {_listed(left)} of this adapter. Expected a word on what "
            f"becomes of that: --rest beside writes it into {EXTRA}, which lorarec adapters import "
            f"reads and PEFT does not; --rest drop leaves it out."
        )
    kept = rest if left else None
    return PeftExport(modules, state.config.alpha, folded, left, kept, state, adapter.info)


def save_peft(export: PeftExport, folder: Path) -> None:
    """Write an export into an existing folder; the folder's maker renames it into place."""
    state, info = export.state, export.info
    tensors = {name: t for module in export.modules for name, t in module.tensors().items()}
    # PEFT's loader asks for the format.
    weights = write_tensors(folder / WEIGHTS, _arrays(tensors), {"format": "pt"})
    write_json(folder / CONFIG, export.config())
    extra = None
    if export.kept == "beside":
        beside = _arrays(_beside(export))
        for name in TABLES:
            beside |= ids_packed(f"{name}.grown_ids", state.grown[name])
        extra = write_tensors(folder / EXTRA, beside)
    note = PeftNote(
        domain=info.domain,
        adapter_digest=info.digest,
        base_digest=info.base_digest,
        users=info.base_users,
        items=info.base_items,
        user_vocabulary=info.user_vocabulary,
        item_vocabulary=info.item_vocabulary,
        data_digest=info.data_digest,
        split=info.split,
        config_digest=sha256_file(folder / CONFIG),
        weights_digest=weights,
        extra_digest=extra,
        folded=export.folded,
        left_out=export.rest if export.kept == "drop" else {},
    )
    save_record(folder / NOTE, note)


def _beside(export: PeftExport) -> dict[str, Tensor]:
    """Bias and grown rows; where the transform is in the items' rows, it is in the grown too."""
    names = [f"{name}.grown" for name in TABLES] + ["bias.rows", "bias.b", "bias.cold"]
    state = export.state
    found = {name: state.tensors[name] for name in names if name in state.tensors}
    transform = state.linear("transform") if export.folded else None
    if transform is not None:
        grown = found["items.grown"]
        found["items.grown"] = grown + (grown @ transform.left) @ transform.right
    return found


def _check(base: Base, state: AdapterState) -> None:
    if state.config.kind == "full" or state.config.whole:
        kind = "is full fine-tuning" if state.config.kind == "full" else "has values of its own"
        tables = all(name in TABLES for name in state.config.whole)
        how = (
            "make them: lorarec adapters truncate ADAPTER --rank 8"
            if tables
            else f"adapt with other --targets or a smaller rank: lorarec adapt --domain "
            f"{state.domain} --targets users:8,items:8,bias"
        )
        raise ConfigError(
            f"The adapter of {state.domain!r} {kind} ({state.config.describe()}), and PEFT holds "
            f"low-rank factors. Expected those; {how}"
        )
    if read := read_by_histories(base.model, state.linear_targets):
        raise ConfigError(
            f"The adapter of {state.domain!r} moves {', '.join(read)}. Users' histories go on "
            f"reading the base's, and in PEFT they would read what moved. Expected an adapter "
            f"without them: adapt with other --targets."
        )
    now = {"users": len(base.users), "items": len(base.items)}
    gained = {name: now[name] - known for name, known in state.known.items() if now[name] > known}
    if gained:
        raise ConfigError(
            f"The base has gained rows since the adapter was trained ({_listed(gained)}), and PEFT "
            f"knows one number of rows. Expected an adapter of the base as it is: lorarec adapt "
            f"--domain {state.domain}"
        )


def _modules(base: Base, state: AdapterState) -> tuple[list[PeftModule], bool]:
    """What moves, and whether the transform went into the items' rows."""
    found = {name: rows for name in TABLES if (rows := _rows(base, state, name)) is not None}
    last = isinstance(base.model.transform, nn.Linear)
    folded = "transform" in state.linear_targets and not last
    if folded:
        found["items"] = _folded(base, state)
    modules = [
        PeftModule(name, True, _factor(product.left.T), _factor(product.right.T))
        for name, product in found.items()
    ]
    for name in state.linear_targets:
        product = state.product(name)
        if product is None or (name == "transform" and not last):
            continue
        # The transform is kept as it stands behind e, on the other side than W's delta.
        out, into = (
            (product.right.T, product.left.T)
            if name == "transform"
            else (product.left, product.right)
        )
        modules.append(PeftModule(name, False, _factor(into), _factor(out)))
    return modules, folded


def _rows(base: Base, state: AdapterState, name: str) -> Product | None:
    """Row factors over all rows of a table, zero where it is not touched."""
    product, rows = state.product(name), state.rows(name)
    if product is None or not len(rows):
        return None
    left = torch.zeros(len(plain_tables(base.model)[name]), product.rank)
    left[rows] = product.left
    return Product(left, product.right)


def _folded(base: Base, state: AdapterState) -> Product:
    """Row factors of items with the transform in them, without the scale s = alpha / √rank."""
    transform, rows = state.linear("transform"), _rows(base, state, "items")
    assert transform is not None
    table = plain_tables(base.model)["items"]
    moved = table @ transform.left
    parts = []
    if rows is not None:
        scaled = Product(state.scales["items"] * rows.left, rows.right)
        moved += scaled.left @ (scaled.right @ transform.left)
        parts.append(scaled)
    both = stacked([*parts, Product(moved, transform.right)])
    if both.rank > (most := min(len(table), state.dim)):
        both, _ = truncated(both, most)
    scale = state.config.alpha / both.rank**0.5
    return Product(both.left / scale, both.right)


def _factor(tensor: Tensor) -> Tensor:
    return tensor.float().contiguous()


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _listed(counts: Mapping[str, int]) -> str:
    words = {"bias": "the item bias"}
    return ", ".join(f"{words.get(name, name)} ({n:,})" for name, n in counts.items()) or "nothing"
