"""Models of implicit: a saved one by its keys, a live one by its factors; biases made biases.

implicit scores every model by a plain inner product and so keeps biases as further columns. With f
factors, ALS has f columns. BPR has f + 1: an item's last is its bias, a user's is 1. LMF has f + 2:
(…, 1, b_u) for a user and (…, b_i, 1) for an item. A column that is 1 for every user (or item) is
taken out and the other side's becomes the bias: x · 1 is exact, so only the order of a sum changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lorarec.errors import DataError
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.storage import sha256_bytes

Array = np.ndarray[Any, Any]
KEYS = {"user_factors", "item_factors", "factors"}
"""Every factor model of implicit saves these."""
_KINDS = {0: "implicit ALS", 1: "implicit BPR", 2: "implicit LMF"}
"""By the number of columns that hold biases."""


def is_implicit(keys: Iterable[str]) -> bool:
    """Whether a file of these keys is a model that implicit saved."""
    return set(keys) >= KEYS


def from_implicit(model: Any) -> Factors:
    """The vectors of a fitted model of implicit, CPU or GPU; they are copied.

    Args:
        model: With `user_factors`, `item_factors` and `factors`, such as
            `implicit.als.AlternatingLeastSquares` after `fit`.

    Raises:
        DataError: It has no factors or is not fitted, or a factor is not finite.
    """
    where = type(model).__name__
    missing = sorted(key for key in KEYS if getattr(model, key, None) is None)
    if missing:
        raise DataError(
            f"The {where} has no {', '.join(missing)}. Expected a fitted factor model of implicit "
            f"(ALS, BPR or LMF); call fit first."
        )
    parts = {key: np.array(_on_the_cpu(getattr(model, key))) for key in sorted(KEYS)}
    digest = sha256_bytes(*(part.tobytes() for part in parts.values()))
    return lifted(parts, where, {f"{type(model).__module__}.{where}": digest})


def lifted(found: Mapping[str, Array], where: str, files: Mapping[str, str]) -> Factors:
    """Vectors and biases of implicit's factors.

    Args:
        found: `user_factors` and `item_factors`, each with the columns of biases, and `factors`;
            further keys are ignored, but for `user_ids` and `item_ids`.
        where: The file's or class's name.
        files: Name → SHA-256, for the record.

    Raises:
        DataError: As `factors_of`, or the columns are not as many as one of the models has.
    """
    users, items, count = found["user_factors"], found["item_factors"], found["factors"]
    if count.shape != () or count.dtype.kind not in "iu":
        raise DataError(f"`factors` of {where} is {count!r}. Expected the number of factors.")
    factors = int(count)
    parts: dict[str, Any] = {
        "users": users,
        "items": items,
        **{name: found[name] for name in ("user_ids", "item_ids") if name in found},
    }
    plain = factors_of(parts, "implicit", where, files)  # checked before columns are taken
    beyond = plain.dim - factors
    if factors < 1 or beyond not in _KINDS:
        raise DataError(
            f"{where} says {factors} factors and has {plain.dim} columns. Expected {factors} "
            f"(ALS), {factors + 1} (BPR) or {factors + 2} (LMF); save the model again."
        )
    if beyond and _ones(users[:, factors]) and (beyond == 1 or _ones(items[:, factors + 1])):
        parts |= {
            "users": users[:, :factors],
            "items": items[:, :factors],
            "item_bias": items[:, factors],
            "user_bias": users[:, factors + 1] if beyond == 2 else None,
        }
    return factors_of(parts, _KINDS[beyond], where, files)


def _ones(column: Array) -> bool:
    return bool((column == 1).all())


def _on_the_cpu(value: Any) -> Any:
    return value.to_numpy() if hasattr(value, "to_numpy") else value
