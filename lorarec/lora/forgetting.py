"""An adapter without some ids, on the base that is without them; all others score as they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lorarec.data.forgotten import SIDES, Forgotten
from lorarec.data.source import DataSource
from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest, on_base
from lorarec.lora.size import adapter_size
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base
from lorarec.storage import sha256_bytes


def rekeyed(
    base: Base, now: Base, adapter: Adapter, forgotten: Forgotten, trained_on: Sequence[DataSource]
) -> Adapter:
    """The adapter on its base without some ids: what it holds of them is gone, all else stays.

    Args:
        base: The adapter's, as it was.
        now: The same without the ids; it may be the same one, where it knew none.
        adapter: On `base`.
        forgotten: The ids.
        trained_on: Logs that it was trained on besides the base's, as recorded from now on.

    Returns:
        An adapter with a digest of its own where it held any of the ids, else with its own.
    """
    state = AdapterState.of(adapter)
    vocabularies = {"users": base.users, "items": base.items}
    rows: dict[str, Tensor] = {}
    grown: dict[str, list[str]] = {}
    tensors = dict(state.tensors)
    stays: dict[str, Tensor] = {}
    for side in SIDES:
        ids = set(forgotten.ids(side))
        rows[side] = torch.tensor(forgotten.among(side, vocabularies[side]), dtype=torch.int64)
        stays[side] = torch.tensor(
            [each not in ids for each in state.grown[side]], dtype=torch.bool
        )
        grown[side] = [each for each in state.grown[side] if each not in ids]
        touched = ~torch.isin(state.rows(side), rows[side])
        for part in ("rows", "a", "d"):
            if f"{side}.{part}" in tensors:
                tensors[f"{side}.{part}"] = tensors[f"{side}.{part}"][touched]
        if not touched.any():  # factors that move nothing are not kept
            tensors = {k: t for k, t in tensors.items() if k not in (f"{side}.a", f"{side}.b")}
        if f"{side}.grown" in tensors:
            tensors[f"{side}.grown"] = tensors[f"{side}.grown"][stays[side]]
    tensors |= _bias(state, rows["items"], stays["items"])
    info = adapter.info.model_copy(
        update={
            "base_digest": now.digest,
            "user_vocabulary": now.users.digest(adapter.info.base_users),
            "item_vocabulary": now.items.digest(adapter.info.base_items),
            "trained_on": list(trained_on),
        }
    )
    made = on_base(now, info, tensors, grown)
    return Adapter(made.model, made.users, made.items, _recorded(made, grown, info))


def _bias(state: AdapterState, gone: Tensor, stays: Tensor) -> dict[str, Tensor]:
    """Item biases without those of items that go; a grown item's row moves up as they leave."""
    rows, known = state.rows("bias"), state.known["items"]
    if "bias.rows" not in state.tensors:
        return {}
    is_grown = rows >= known
    place = (rows - known).clamp(min=0)
    left = ~torch.isin(rows, gone)
    moved = rows.clone()
    if len(stays):
        left &= ~is_grown | stays[place.clamp(max=len(stays) - 1)]
        before = torch.cumsum(stays, 0) - 1
        moved[is_grown] = known + before[place[is_grown]]
    return {"bias.rows": moved[left], "bias.b": state.tensors["bias.b"][left]}


def _recorded(made: Adapter, grown: Mapping[str, list[str]], info: AdapterInfo) -> AdapterInfo:
    digest = adapter_digest(made.model, (grown["users"], grown["items"]))
    known: dict[str, object] = {"digest": digest, "weights_digest": sha256_bytes()}
    if digest != info.digest:
        state = AdapterState.of(made)
        size = adapter_size(made.model, len(state.rows("users")), len(state.rows("items")))
        known["parameters"] = {**info.parameters, "factors": size.factors, "grown": size.grown}
    return info.model_copy(update=known)
