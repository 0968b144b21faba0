"""Comparison tables as plain data; how they look is the command line's matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorarec.evaluation.evaluate import ArmResult, Difference


def comparison_rows(
    results: Mapping[str, ArmResult],
    differences: Mapping[str, Mapping[str, Difference]] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """One row an arm, in the order given, ready for a table or for JSON.

    Args:
        results: By arm.
        differences: From `compare`; adds `<key>_difference`, its `_low` and `_high`, and
            `<key>_p_value`, None for the baseline.
        metrics: Metric keys to show. None: all that the arms have.

    Returns:
        Rows with `arm`, `parameters`, `catalogue`, `recall_denominator`, the counts, and for each
        metric key its mean under the key itself, `<key>_low` and `<key>_high`, then coverages. A
        metric that an arm lacks is None, so that all rows have the same columns.
    """
    known = dict.fromkeys(key for result in results.values() for key in result.intervals)
    keys = list(known) if metrics is None else list(metrics)
    covers = dict.fromkeys(key for result in results.values() for key in result.coverage)
    rows = []
    for arm, result in results.items():
        row: dict[str, Any] = {
            "arm": arm,
            "parameters": result.parameters,
            "catalogue": result.catalogue,
            "recall_denominator": result.recall_denominator,
            "users": result.counts.users,
            "users_without_held_out": result.counts.without_held_out,
            "users_without_recommendations": result.counts.without_recommendations,
            "cold_users": result.counts.cold_users,
        }
        for key in keys:
            interval = result.intervals.get(key)
            row[key] = None if interval is None else interval.mean
            row[f"{key}_low"] = None if interval is None else interval.low
            row[f"{key}_high"] = None if interval is None else interval.high
            if differences is not None:
                row |= _difference_cells(key, differences.get(arm, {}).get(key))
        row |= {key: result.coverage.get(key) for key in covers}
        rows.append(row)
    return rows


def _difference_cells(key: str, difference: Difference | None) -> dict[str, float | None]:
    if difference is None:
        ends = ("difference", "difference_low", "difference_high", "p_value")
        return {f"{key}_{end}": None for end in ends}
    return {
        f"{key}_difference": difference.interval.mean,
        f"{key}_difference_low": difference.interval.low,
        f"{key}_difference_high": difference.interval.high,
        f"{key}_p_value": difference.p_value,
    }


def segment_rows(results: Mapping[str, ArmResult], metric: str) -> list[dict[str, Any]]:
    """One row an arm and segment (known users, new users): users, mean, low, high of a metric."""
    return [
        {
            "arm": arm,
            "segment": segment,
            "users": intervals[metric].n,
            metric: intervals[metric].mean,
            f"{metric}_low": intervals[metric].low,
            f"{metric}_high": intervals[metric].high,
        }
        for arm, result in results.items()
        for segment, intervals in result.segments.items()
        if metric in intervals
    ]
