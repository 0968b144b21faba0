"""Pictures of what was measured again and again: a line for each domain over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lorarec.evaluation.chart_style import LINE, MUTED, SERIES, new_axes, style_of
from lorarec.report.charts import HEIGHT, WIDTH, legend, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]
"""Moments, as days since 1970, rising; and values."""


def over_time(
    lines: Mapping[str, Points],
    label: str,
    marks: Mapping[str, Points] | None = None,
    share: bool = False,
) -> Figure:
    """A line for each domain; where there are more than colours, thin ones and their median.

    Args:
        lines: By domain.
        label: Of the values.
        marks: Points that a ring is drawn around, such as promotions; shown where lines have
            colours of their own.
        share: Whether the values are from 0 to 1, which the axis then shows whole.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure, axes = new_axes(WIDTH, HEIGHT)
    many = len(lines) > len(SERIES)
    for place, (name, points) in enumerate(lines.items()):
        color, marker = (MUTED, "") if many else style_of("", place)
        axes.plot(
            [at for at, _ in points], [value for _, value in points], color=color, marker=marker,
            markersize=4, linewidth=0.7 if many else 1.6, alpha=0.5 if many else 1.0,
            label=None if many else plain(name),
        )  # fmt: skip
        for at, value in (marks or {}).get(name, ()) if not many else ():
            axes.plot(
                [at], [value], marker="o", markersize=10, markerfacecolor="none",
                markeredgecolor=color, linestyle="none",
            )  # fmt: skip
    if many:
        moments, middle = _median(lines)
        axes.plot(
            moments, middle, color=LINE, linewidth=2.2, label=f"median of {len(lines)} domains"
        )
    locator = AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    shown = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(shown)
    if share:
        axes.set_ylim(0, 1.02)
    axes.set_ylabel(label, fontsize=9)
    legend(figure, axes)
    return figure


def _median(lines: Mapping[str, Points]) -> tuple[list[float], list[float]]:
    """Of the last known value of every domain, at each moment of any."""
    moments = sorted({at for points in lines.values() for at, _ in points})
    last: dict[str, float] = {}
    known = {name: dict(points) for name, points in lines.items()}
    middle = []
    for at in moments:
        last |= {name: own[at] for name, own in known.items() if at in own}
        middle.append(float(np.median(list(last.values()))))
    return moments, middle
