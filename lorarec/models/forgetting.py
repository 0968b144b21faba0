"""A base without some ids: their rows are zero and named by nobody, all others as they were.

What other rows have learnt from theirs stays: this is no unlearning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lorarec.data.forgotten import SIDES, Forgotten, Side
from lorarec.data.source import DataSource
from lorarec.errors import ConfigError
from lorarec.models.artefact import (
    Base,
    DomainBiases,
    SideFeatures,
    library_versions,
    model_of,
    weights_digest,
    weights_of,
)
from lorarec.storage import sha256_bytes

Array = np.ndarray[Any, Any]
TABLES: dict[Side, tuple[str, ...]] = {"users": ("users",), "items": ("items", "bias")}
PER_ROW = ("codes", "values", "missing")
"""Arrays of features that have an entry for each id."""
TOWERS: dict[Side, str] = {"users": "user_tower", "items": "item_tower"}


def without_ids(base: Base, forgotten: Forgotten, data: DataSource, folder: Path) -> Base:
    """The base with its rows of some ids emptied; every row keeps its number.

    Args:
        base: As it was; nothing of it is changed.
        forgotten: The ids.
        data: Where its logs come from, as it is recorded from now on.
        folder: Of the base, for what is said.

    Returns:
        A base of its own, whose record names the one it comes from; where it knew none of the ids,
        the same numbers under the same digest.

    Raises:
        ConfigError: Other users' vectors are pooled of an item that goes.
    """
    info = base.info.model_copy(update={"data": data})
    rows: dict[Side, list[int]] = {
        "users": forgotten.among("users", base.users),
        "items": forgotten.among("items", base.items),
    }
    described = {
        side: forgotten.among(side, found.described) for side, found in base.features.items()
    }
    if not any(rows.values()) and not any(described.values()):
        return replace(base, info=info)
    arrays = {name: array.copy() for name, array in weights_of(base.model).items()}
    trained = {"users": info.users, "items": info.items}
    for side in SIDES:
        for name in TABLES[side]:
            if name in arrays:
                arrays[name][rows[side]] = 0
        places = [row for row in rows[side] if row < trained[side]]
        places += [trained[side] + place for place in described.get(side, [])]
        _empty_features(arrays, f"{TOWERS[side]}.features.parts.", places)
    _empty_histories(arrays, rows, info.users, folder)
    users = base.users.without(forgotten.ids("users"))
    items = base.items.without(forgotten.ids("items"))
    features = {
        side: _described(found, forgotten.ids(side)) for side, found in base.features.items()
    }
    model = model_of(folder, info, arrays, features).requires_grad_(False)
    info = info.model_copy(
        update={
            "digest": weights_digest(model, info.users, info.items),
            "weights_digest": sha256_bytes(),
            "user_vocabulary": users.digest(info.users),
            "item_vocabulary": items.digest(info.items),
            "features": {
                side: known.model_copy(update={"vocabulary": features[side].described.digest()})
                for side, known in info.features.items()
            },
            "versions": library_versions(),
            "forgotten_from": base.digest,
        }
    )
    gone = np.asarray(rows["items"], dtype=np.int64)
    biases = {domain: _kept(each, gone) for domain, each in base.domain_bias.items()}
    return Base(model, users, items, info, biases, features)


def _described(found: SideFeatures, ids: list[str]) -> SideFeatures:
    return replace(found, described=found.described.without(ids))


def _kept(biases: DomainBiases, gone: Array) -> DomainBiases:
    stays = ~np.isin(biases.rows, gone)
    return DomainBiases(biases.rows[stays], biases.values[stays])


def _empty_features(arrays: dict[str, Array], start: str, places: list[int]) -> None:
    """Give places the features of the last one, which is that of an id nobody has described."""
    if not places:
        return
    # Other arrays of the parts are what was learnt of a category or a column.
    for name in [name for name in arrays if name.startswith(start)]:
        stem, _, part = name.rpartition(".")
        if part == "offsets":
            arrays[name], arrays[f"{stem}.values"] = _emptied(
                arrays[name], arrays[f"{stem}.values"], places
            )
        elif part in PER_ROW and f"{stem}.offsets" not in arrays:
            arrays[name][places] = arrays[name][-1]


def _empty_histories(
    arrays: dict[str, Array], rows: Mapping[Side, list[int]], users: int, folder: Path
) -> None:
    """Take away what users that go had.

    Raises:
        ConfigError: A user that stays had an item that goes.
    """
    if "history.offsets" not in arrays:
        return
    offsets, items = arrays["history.offsets"], arrays["history.items"]
    places = [row for row in rows["users"] if row < users]
    offsets, items = _emptied(offsets, items, places)
    if np.isin(items, rows["items"]).any():
        raise ConfigError(
            f"Users of the base in {folder} are known by what they had, an item that is to be "
            f"forgotten among it: without it their scores would change. Expected an item that no "
            f"user's history has. Pretrain again on logs without it, and remove this base, see: "
            f"lorarec gc -h"
        )
    arrays["history.offsets"], arrays["history.items"] = offsets, items
    if "history.table.weight" in arrays:
        arrays["history.table.weight"][rows["items"]] = 0


def _emptied(offsets: Array, values: Array, places: list[int]) -> tuple[Array, Array]:
    """Stretches of values with some of them empty."""
    lengths = np.diff(offsets)
    stays = np.ones(len(lengths), dtype=bool)
    stays[places] = False
    kept = values[np.repeat(stays, lengths)]
    ends = np.concatenate([offsets[:1], np.cumsum(np.where(stays, lengths, 0))])
    return ends.astype(offsets.dtype), kept
