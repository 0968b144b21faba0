"""Requests and answers as tables, as MLflow's models take and give them: pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorarec.errors import DataError
from lorarec.serving.limits import Limits
from lorarec.serving.snapshot import Answer, Query

K = 10
"""Of a row without one."""


def queries_of(frame: Any) -> list[Query]:
    """Requests of a pandas frame.

    Args:
        frame: Columns `domain`, and `user_id`, `history` (a list of items) and `k` where they are
            wanted; an empty cell is one that was not given.

    Raises:
        DataError: A row has no domain, or a k below 1 or above the limit.
    """
    limits = Limits()
    found: list[Query] = []
    for row in frame.to_dict("records"):
        domain, user = _given(row.get("domain")), _given(row.get("user_id"))
        k, history = _given(row.get("k")), row.get("history")
        k = K if k is None else int(k)
        if domain is None or not 1 <= k <= limits.k:
            raise DataError(
                f"Row {len(found)} has domain {domain!r} and k {k}. Expected a domain's name, and "
                f"k from 1 to {limits.k}."
            )
        items = () if history is None or _is_nan(history) else tuple(str(i) for i in history)
        found.append(Query(str(domain), None if user is None else str(user), items, k))
    return found


def answered(answers: Sequence[Answer]) -> Any:
    """A pandas frame: items, scores, fallback, reason and adapter_digest of each request."""
    import pandas as pd

    return pd.DataFrame(
        {
            "domain": [answer.found.domain for answer in answers],
            "user_id": [answer.found.user or None for answer in answers],
            "items": [answer.found.items for answer in answers],
            "scores": [answer.found.scores for answer in answers],
            "fallback": [answer.found.fallback for answer in answers],
            "reason": [answer.reason for answer in answers],
            "adapter_digest": [answer.adapter for answer in answers],
        }
    )


def _given(value: Any) -> Any:
    """None for what pandas has for an empty cell."""
    return None if value is None or _is_nan(value) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value
