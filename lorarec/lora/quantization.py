"""The numbers of an adapter in fewer bytes: half precision, or 8 bits and an exponent a row.

What is read back is float32 again, and packing that gives the same bytes: an adapter whose numbers
were rounded once is saved and loaded without another loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lorarec.errors import ArtifactError, ConfigError

Array = np.ndarray[Any, Any]
Storage = Literal["fp32", "fp16", "int8"]
BY_ROW = ("a", "d")
"""Parts that have a row for each touched one: these are what `int8` keeps in 8 bits."""
EXPONENT = ".exponent"
_LARGEST = 127


def rounded(state: Mapping[str, Array], storage: Storage) -> dict[str, Array]:
    """The numbers as they are once stored: float32, each the nearest that the storage has.

    `fp16` keeps every number as a half. `int8` keeps the row factors, and full rows, as

        a_ij = q_ij · 2^k_i,   |q_ij| ≤ 127, the smallest such k_i

    so that no number of a row is off by more than 1/127 of its largest; all else is kept as halves.

    Args:
        state: As `adapter_state` gives it.
        storage: `fp16` or `int8`; `fp32` changes nothing.

    Raises:
        ConfigError: A number is too large for a half.
    """
    return unpacked(_packed(state, storage), storage)


def packed(state: Mapping[str, Array], storage: Storage) -> dict[str, Array]:
    """Arrays for the file of an adapter whose numbers were `rounded`.

    Raises:
        ValueError: They were not: they would come back as others.
    """
    if storage == "fp32":
        return dict(state)
    found = _packed(state, storage)
    again = unpacked(found, storage)
    lost = [name for name, array in state.items() if not np.array_equal(array, again[name])]
    if lost:
        raise ValueError(f"{lost} have numbers that {storage} does not hold; round them first.")
    return found


def unpacked(arrays: Mapping[str, Array], storage: Storage) -> dict[str, Array]:
    """The state again: float32 numbers, int64 rows.

    Raises:
        ArtifactError: The arrays are not those of the storage.
    """
    if storage == "fp32":
        return dict(arrays)
    state = {}
    for name, array in arrays.items():
        if name.endswith(EXPONENT):
            continue
        if array.dtype == np.int8:
            exponent = arrays.get(name + EXPONENT)
            if exponent is None or exponent.dtype != np.int8 or exponent.shape != array.shape[:1]:
                raise ArtifactError(
                    f"adapter.safetensors has 8-bit numbers {name!r} without an exponent for each "
                    f"of their {len(array)} rows. It was edited; get the adapter again."
                )
            state[name] = np.ldexp(array.astype(np.float32), exponent[:, None].astype(np.int32))
        elif array.dtype in (np.int32, np.int64):
            state[name] = array.astype(np.int64)
        else:
            state[name] = array.astype(np.float32)
    return state


def _packed(state: Mapping[str, Array], storage: Storage) -> dict[str, Array]:
    if storage == "fp32":
        return dict(state)
    found: dict[str, Array] = {}
    for name, array in state.items():
        if np.issubdtype(array.dtype, np.integer):
            small = not len(array) or int(array.max()) <= np.iinfo(np.int32).max
            found[name] = array.astype(np.int32) if small else array
        elif storage == "int8" and name.rpartition(".")[2] in BY_ROW:
            found[name], found[name + EXPONENT] = _eight_bits(array)
        else:
            found[name] = _half(name, array)
    return found


def _half(name: str, array: Array) -> Array:
    largest = float(np.abs(array).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise ConfigError(
            f"{name} has a number of {largest:g}, and a half holds up to 65504. Expected smaller "
            f"ones; leave the adapter in fp32."
        )
    return array.astype(np.float16)


def _eight_bits(array: Array) -> tuple[Array, Array]:
    """float32 (t, r) → int8 (t, r) and the exponents, int8 (t,)."""
    largest = np.abs(array).max(axis=1, initial=0.0)
    _, above = np.frexp(largest)  # largest < 2^above
    exponent = above - 7  # so that the largest is in [64, 128)
    over = np.rint(np.ldexp(largest, -exponent)) > _LARGEST
    # Below 2^-127 there is nothing but rounding left of a row.
    exponent = np.clip(np.where(largest > 0, exponent + over, 0), -128, 127)
    whole = np.rint(np.ldexp(array, -exponent[:, None]))
    return whole.astype(np.int8), exponent.astype(np.int8)
