"""Digests of tables that do not move with the Polars version, the chunks or the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 16
_NULL_LENGTH = 0xFFFFFFFF


def hash_strings(digest: _Hash, column: pl.Series) -> None:
    """Feed a String column, in order: the byte lengths of a block's values, then their bytes.

    A null has the length 0xFFFFFFFF and no bytes, so it differs from an empty string. Blocks are
    65,536 rows wherever the column's own chunks end.

    Args:
        digest: A `hashlib` object; updated in place.
        column: String, any length, nulls allowed.
    """
    for start in range(0, len(column), _BLOCK):
        block = column.slice(start, _BLOCK)
        lengths = block.str.len_bytes().fill_null(_NULL_LENGTH).to_numpy()
        digest.update(lengths.astype("<u4").tobytes())
        digest.update((block.str.join("").item() or "").encode())


def hash_numbers(digest: _Hash, column: pl.Series, dtype: str) -> None:
    """Feed a numeric column as little-endian `dtype`, after one byte a row that says "not null".

    Args:
        digest: A `hashlib` object; updated in place.
        column: Numeric, any length, nulls allowed.
        dtype: NumPy name of the bytes to hash, such as `<i8` or `<f4`.
    """
    for start in range(0, len(column), _BLOCK):
        block = column.slice(start, _BLOCK)
        digest.update(block.is_not_null().to_numpy().astype("u1").tobytes())
        values: np.ndarray[Any, Any] = block.fill_null(0).to_numpy()
        digest.update(values.astype(dtype).tobytes())
