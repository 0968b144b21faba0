"""What of an adapter is worth carrying to a retrained base, whose space is turned against the old.

Two trainings of one model agree up to a rotation at best: no score ⟨u, v⟩ tells u R, v R from u, v.
So the rotation is found on the ids that both bases know, and the adapter is turned by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lorarec.data.vocabulary import Ids, Vocabulary
from lorarec.errors import AdapterMismatchError, ConfigError
from lorarec.lora.adapter import Adapter
from lorarec.lora.attach import Touched, adapter_state, attach
from lorarec.lora.config import RANKED
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import Base
from lorarec.models.base import plain_tables


@dataclass(frozen=True, eq=False)
class Alignment:
    """How one base's space lies in another's: e' ≈ c · e R."""

    rotation: Tensor
    """R: float32 (d, d'), with orthonormal rows or columns."""
    scales: Mapping[str, float]
    """c of `users` and `items`: how long shared rows are in the new base beside the old."""
    shared: Mapping[str, int]
    """Ids of `users` and `items` that both know."""
    cosine: float
    """Mean cosine of e R and e' over the shared ids: 1 where the bases differ by R alone."""


def aligned(old: Base, new: Base) -> Alignment:
    """The rotation that brings the rows of an old base nearest to those of a new one.

        R = argmin ‖X R - Y‖_F over Rᵀ R = I   =   U Vᵀ   with   Xᵀ Y = U S Vᵀ

    Orthogonal Procrustes (Schönemann 1966), over the shared users and items together, since one
    score compares both, each row with length 1, so that none counts for more.

    Raises:
        AdapterMismatchError: They share fewer ids than they have dimensions: nothing is found then.
    """
    before, after = plain_tables(old.model), plain_tables(new.model)
    core = torch.zeros(old.model.dim, new.model.dim, dtype=torch.float64)
    scales, shared, rows = {}, {}, []
    for name, (ids, others) in _vocabularies(old, new).items():
        place = torch.from_numpy(others.rows(ids.series, missing="mark"))
        known = torch.nonzero(place >= 0).squeeze(1)
        x, y = before[name][known], after[name][place[known]]
        shared[name] = len(known)
        lengths = [float(each.norm(dim=1).mean()) if len(each) else 1.0 for each in (x, y)]
        scales[name] = lengths[1] / lengths[0] if lengths[0] else 1.0
        x, y = functional.normalize(x, dim=1), functional.normalize(y, dim=1)
        core += (x.T @ y).double()
        rows.append((x, y))
    least = max(old.model.dim, new.model.dim)
    if sum(shared.values()) < least:
        raise AdapterMismatchError(
            f"The bases share {shared['users']:,} users and {shared['items']:,} items, and their "
            f"spaces have {least} dimensions. Expected at least as many ids that both know, or "
            f"nothing tells how one lies in the other; adapt anew: lorarec adapt"
        )
    u, _, vt = torch.linalg.svd(core, full_matrices=False)
    rotation = (u @ vt).float()
    total = sum(float((x @ rotation * y).sum()) for x, y in rows)
    return Alignment(rotation, scales, shared, total / sum(shared.values()))


@dataclass(frozen=True)
class Carried:
    """An adapter's numbers for another base, and what became of its ids."""

    tensors: dict[str, Tensor]
    """As `adapter_state` gives them."""
    counts: dict[str, int]
    """Ids of both tables: `kept` with their factors; `grown` as before; `learnt` by the new base
    since, which begin at its vector; `lost` by it, now grown; `gone` from the domain; `new`."""
    fresh: list[str]
    """Targets that begin anew: layers of towers, whose inner axes no two trainings share."""


def carried(
    adapter: Adapter, old: Base, new: Base, touched: Touched, grown: Mapping[str, list[str]],
    how: Alignment,
) -> Carried:  # fmt: skip
    """Turn an adapter to another base.

        a ← a,   B ← c · B R,   P ← Rᵀ P,   Q ← Q R,   β ← β,   g ← c · g R

    An id that the old base knew and the new one does not gets the vector it had, turned, as a grown
    row. One that was grown and is known now begins at the new base's vector, which was trained on
    all of its rows.

    Args:
        adapter: On the old base.
        old: Its base.
        new: The base it goes to.
        touched: The domain's rows beside the new base; its grown vectors stay where nothing is
            carried.
        grown: Ids of grown `users` and `items` beside the new base, in the order of their vectors.
        how: The alignment of the two.

    Raises:
        ConfigError: A rank is above the new base's dimension.
        AdapterMismatchError: The new base has not the layers that the adapter moves.
    """
    state = AdapterState.of(adapter)
    _check_ranks(state, new)
    fresh = adapter_state(attach(new.model, state.config, touched))
    tensors = {name: tensor.clone() for name, tensor in fresh.items()}
    counts = dict.fromkeys(("kept", "grown", "learnt", "lost", "gone", "new"), 0)
    tables = plain_tables(old.model)
    for name, (ids, others) in _vocabularies(old, new).items():
        turn = how.scales[name] * how.rotation
        for what, count in _carry_rows(
            state, tensors, name, ids, others, grown[name], tables[name], turn
        ).items():
            counts[what] += count
    for part, tensor in _turned_transform(state, how.rotation).items():
        if part not in tensors:
            raise AdapterMismatchError(
                f"The adapter of {state.domain!r} has a whole transform ({part}), and the new base "
                f"has no last layer. Expected a base of two towers, or an adapter of factors."
            )
        tensors[part].copy_(tensor)
    if state.config.bias:
        _carry_bias(state, adapter.items, tensors, new.items.extend(grown["items"]))
    shape = state.config
    layers = [name for name in (*shape.ranks, *shape.whole) if name not in RANKED]
    return Carried(tensors, counts, sorted(layers))


def _carry_rows(
    state: AdapterState,
    tensors: dict[str, Tensor],
    name: str,
    ids: Vocabulary,
    others: Vocabulary,
    grown: list[str],
    table: Tensor,
    turn: Tensor,
) -> dict[str, int]:
    """Fill the parts of one table in; how many ids are what, as `Carried.counts`."""
    own, had = Vocabulary(ids.take(state.rows(name).numpy())), Vocabulary(state.grown[name])
    now = others.take(tensors[f"{name}.rows"].numpy())
    slots, learnt = _places(own, now), _places(had, now) >= 0
    kept = slots >= 0
    for part in ("a", "d"):
        if (values := state.tensors.get(f"{name}.{part}")) is not None and bool(kept.any()):
            values = values[slots[kept]]
            tensors[f"{name}.{part}"][kept] = values @ turn if part == "d" else values
    if (shared := state.tensors.get(f"{name}.b")) is not None and f"{name}.b" in tensors:
        tensors[f"{name}.b"].copy_(shared @ turn)
    vectors, before = tensors[f"{name}.grown"], _places(had, grown)
    still = before >= 0
    vectors[still] = state.tensors[f"{name}.grown"][before[still]] @ turn
    # Rows that were appended to the old base since are none that the adapter moved.
    rows = _places(ids, grown)
    lost = (rows >= 0) & ~still
    slots = _places(own, grown)[lost]
    turned = table[rows[lost]].clone()
    moved = slots >= 0
    turned[moved] += state.delta(name, slots[moved])
    vectors[lost] = turned @ turn
    counts = {
        "kept": int(kept.sum()),
        "grown": int(still.sum()),
        "learnt": int(learnt.sum()),
        "lost": int(lost.sum()),
    }
    counts["new"] = len(now) + len(grown) - sum(counts.values())
    gone = len(own) + len(had) - counts["kept"] - counts["grown"] - counts["learnt"]
    return counts | {"gone": gone - int(moved.sum())}


def _turned_transform(state: AdapterState, rotation: Tensor) -> dict[str, Tensor]:
    """P ← Rᵀ P, Q ← Q R; of a whole D, which stands on the other side of e, Rᵀ D R."""
    found = {}
    for part, tensor in state.tensors.items():
        table, _, kind = part.rpartition(".")
        if table == "transform":
            found[part] = {
                "p": lambda t: rotation.T @ t,
                "q": lambda t: t @ rotation,
                "d": lambda t: rotation.T @ t @ rotation,
                "e": lambda t: t @ rotation,
            }[kind](tensor)
    return found


def _carry_bias(
    state: AdapterState, before: Vocabulary, tensors: dict[str, Tensor], now: Vocabulary
) -> None:
    """β by id, the constant where an item had none."""
    own = Vocabulary(before.take(state.rows("bias").numpy()))
    slots = _places(own, now.take(tensors["bias.rows"].numpy()))
    had = slots >= 0
    tensors["bias.cold"].copy_(state.tensors["bias.cold"])
    tensors["bias.b"].fill_(float(state.tensors["bias.cold"]))
    tensors["bias.b"][had] = state.tensors["bias.b"][slots[had]]


def _places(vocabulary: Vocabulary, ids: Ids) -> Tensor:
    """Rows of ids, -1 where they are not there."""
    return torch.from_numpy(vocabulary.rows(ids, missing="mark"))


def _vocabularies(old: Base, new: Base) -> dict[str, tuple[Vocabulary, Vocabulary]]:
    return {"users": (old.users, new.users), "items": (old.items, new.items)}


def _check_ranks(state: AdapterState, new: Base) -> None:
    for name in RANKED:
        if state.config.ranks.get(name, 0) > new.model.dim:
            raise ConfigError(
                f"The adapter has rank {state.config.ranks[name]} on {name}, and the new base's "
                f"dimension is {new.model.dim}. Expected no rank above it; bring it down first: "
                f"lorarec adapters truncate ADAPTER --rank {new.model.dim}"
            )
