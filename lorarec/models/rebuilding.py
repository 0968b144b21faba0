"""Two towers from the arrays of an artefact, every one of them checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

from lorarec.data.features.encoder import FeatureEncoder
from lorarec.data.features.table import Bags, FeatureTable, Vectors
from lorarec.models.base import Similarity
from lorarec.models.features import FeatureEmbedding, part_names
from lorarec.models.two_tower import TowerConfig, TwoTower

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


def rebuilt(
    arrays: Arrays,
    similarity: Similarity,
    temperature: float,
    config: TowerConfig,
    encoders: Mapping[str, FeatureEncoder],
    rows: Mapping[str, int],
    known: Mapping[str, int],
) -> TwoTower:
    """The model whose `tensors` these are.

    Args:
        arrays: By name.
        similarity: `cosine` or `dot`.
        temperature: τ of the cosine.
        config: Shape of the towers.
        encoders: Of `users` and `items`, as far as they have features.
        rows: How many `users` and `items` have features, the unknown one included.
        known: How many `users` and `items` were trained; rows of the tables behind them were
            appended and are their vectors alone.

    Raises:
        ValueError: An array is missing, left over, of another shape or type, or points outside.
    """
    users, items = (_table(arrays, name) for name in ("users", "items"))
    features = {
        side: FeatureEmbedding(
            _feature_table(arrays, f"{_tower(side)}.features.parts.", encoder, rows[side]),
            encoder.sizes,
            users.shape[1],
        )
        for side, encoder in encoders.items()
    }
    history = None
    if config.history != "none":
        history = _history(arrays, (known["users"], known["items"]))
    model = TwoTower.from_tables(
        torch.from_numpy(users),
        torch.from_numpy(items),
        similarity,
        temperature,
        config,
        history,
        features.get("users"),
        features.get("items"),
        torch.from_numpy(arrays["bias"]) if "bias" in arrays else None,
        known=known,
    )
    expected = model.tensors()
    wrong = sorted(
        name
        for name in expected.keys() | arrays.keys()
        if name not in expected
        or name not in arrays
        or expected[name].shape != arrays[name].shape
        or expected[name].dtype != torch.from_numpy(arrays[name]).dtype
    )
    if wrong:
        raise ValueError(f"the tensors {wrong[:5]} are missing, left over or of another shape")
    with torch.no_grad():
        for name, tensor in expected.items():
            given = torch.from_numpy(arrays[name])
            if tensor.data_ptr() != given.data_ptr():  # what is shared may be read-only memory
                tensor.copy_(given)
    return model


def _tower(side: str) -> str:
    return "user_tower" if side == "users" else "item_tower"


def _array(arrays: Arrays, name: str) -> Array:
    if name not in arrays:
        raise ValueError(f"the tensor {name!r} is missing")
    return arrays[name]


def _table(arrays: Arrays, name: str) -> Array:
    found = _array(arrays, name)
    if found.ndim != 2 or found.dtype != np.float32:
        raise ValueError(f"{name!r} is {found.dtype} {found.shape}, not a table")
    return found


def _flat(arrays: Arrays, name: str, length: int, below: int | None = None) -> Array:
    """Whole numbers (length,), each from 0 to below `below`."""
    found = _array(arrays, name)
    whole = np.issubdtype(found.dtype, np.integer)
    inside = whole and (below is None or not len(found) or 0 <= found.min() <= found.max() < below)
    if found.shape != (length,) or not inside:
        raise ValueError(f"{name!r} is {found.dtype} {found.shape} or points outside")
    return found


def _stretches(arrays: Arrays, offsets: str, values: str, rows: int, below: int) -> Bags:
    ends = _flat(arrays, offsets, rows + 1)
    if ends[0] != 0 or (np.diff(ends) < 0).any():
        raise ValueError(f"{offsets!r} does not ascend from 0")
    return Bags(ends, _flat(arrays, values, int(ends[-1]), below))


def _history(arrays: Arrays, shape: tuple[int, int]) -> sparse.csr_matrix:
    had = _stretches(arrays, "history.offsets", "history.items", *shape)
    ones = np.ones(len(had.values), np.float32)
    return sparse.csr_matrix((ones, had.values, had.offsets), shape=shape)


def _feature_table(arrays: Arrays, start: str, encoder: FeatureEncoder, rows: int) -> FeatureTable:
    specs = {
        kind: [spec.name for spec in encoder.specs if spec.kind == kind]
        for kind in ("categorical", "categories", "vector", "numeric")
    }
    place = part_names(specs["categorical"], specs["categories"], specs["vector"])
    sizes = encoder.sizes
    numbers: tuple[Array, Array] = (np.empty((rows, 0), np.float32), np.empty((rows, 0), np.bool_))
    if specs["numeric"]:
        values, missing = (f"{start}numeric.{part}" for part in ("values", "missing"))
        numbers = (_array(arrays, values), _array(arrays, missing))
    return FeatureTable(
        known=np.ones(rows, np.bool_),
        categorical={
            name: _flat(arrays, f"{start}{place[name]}.codes", rows, sizes[name])
            for name in specs["categorical"]
        },
        categories={
            name: _stretches(
                arrays,
                f"{start}{place[name]}.offsets",
                f"{start}{place[name]}.values",
                rows,
                sizes[name],
            )
            for name in specs["categories"]
        },
        numeric_names=tuple(specs["numeric"]),
        numeric=numbers[0],
        numeric_missing=numbers[1],
        vectors={
            name: Vectors(
                _array(arrays, f"{start}{place[name]}.values"),
                _flat_bool(arrays, f"{start}{place[name]}.missing", rows),
            )
            for name in specs["vector"]
        },
    )


def _flat_bool(arrays: Arrays, name: str, length: int) -> Array:
    found = _array(arrays, name)
    if found.shape != (length,) or found.dtype != np.bool_:
        raise ValueError(f"{name!r} is {found.dtype} {found.shape}, not bool ({length},)")
    return found
