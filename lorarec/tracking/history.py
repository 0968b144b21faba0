"""A metric of a recorded run, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorarec.tracking.refusals import refusals

if TYPE_CHECKING:
    from lorarec.tracking.store import Store


def metric_history(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    """Step and value of a metric, by step; of a step that was logged twice the last value.

    Args:
        store: Where the run is.
        run_id: 32 hex digits.
        key: The metric's; one that the run lacks has no history.

    Raises:
        StoreError: The store refused.
    """
    with refusals(store.uri):
        found = store.client.get_metric_history(run_id, key)
    values = {point.step: point.value for point in sorted(found, key=lambda p: p.timestamp)}
    return sorted(values.items())
