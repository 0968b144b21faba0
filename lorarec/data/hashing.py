"""A number for each id: the same on every machine, in every process and in every version."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]
_BLOCK = 1 << 16
_BASE = np.uint64(0x9E3779B97F4A7C15)


def id_keys(ids: pl.Series) -> Array:
    """A 64-bit number for each id, spread evenly.

    The bytes of the UTF-8 text are the coefficients of a polynomial modulo 2^64, mixed by the
    finaliser of SplitMix64 (Steele, Lea and Flood 2014). It is no cryptographic hash.

    Args:
        ids: String (n,), no nulls.

    Returns:
        uint64 (n,).
    """
    blocks = [_keys(ids.slice(start, _BLOCK)) for start in range(0, len(ids), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.uint64)


def mixed(keys: Array) -> Array:
    """The finaliser of SplitMix64, a bijection of uint64 (n,): near keys come far apart."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys = keys ^ (keys >> np.uint64(31))
    return keys


def _keys(ids: pl.Series) -> Array:
    lengths = ids.str.len_bytes().to_numpy().astype(np.int64)
    content = np.frombuffer((ids.str.join("").item() or "").encode(), dtype=np.uint8)
    ends = np.cumsum(lengths)
    place = np.arange(len(content)) - np.repeat(ends - lengths, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _BASE))
    sums = np.zeros(len(content) + 1, dtype=np.uint64)  # modulo 2^64, as are all of these
    np.cumsum((content.astype(np.uint64) + np.uint64(1)) * powers[place], out=sums[1:])
    return mixed(sums[ends] - sums[ends - lengths] + lengths.astype(np.uint64))
