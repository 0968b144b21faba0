"""One look for every picture: colours, sizes, axes without a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 150
"""Dots an inch, of a PNG."""
INK, MUTED, GRID, LINE, CHOSEN = "#1f2933", "#5f6b76", "#e3e6ea", "#1f4e79", "#c0392b"
"""Text, what stands behind, rules, a curve, what was chosen."""
ARMS = {
    "lora": (LINE, "o"),
    "base": ("#6b6b6b", "s"),
    "full": ("#c0392c", "D"),
    "bias": ("#4263eb", "h"),
    "popularity": ("#9a6700", "v"),
    "knn": ("#2f7d4f", "^"),
    "ease": ("#6b46c1", "P"),
    "ials": ("#0e7490", "X"),
    "bpr": ("#be185d", "<"),
    "alone": ("#7c4a1e", ">"),
    "pooled": ("#4d5a12", "p"),
}
"""Colour and marker of each arm: told apart by either alone. No two colours are the same."""
RANKS = ("#0277bd", "#3f51b5", "#5e35b1", "#00695c", "#283593", "#37474f")
"""Colours of adapters by rank: below 2, 8, 32, 128 and 512, and from there on."""
SERIES = (*(color for color, _ in ARMS.values()), *RANKS)
MARKERS = tuple(marker for _, marker in ARMS.values())


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; pyplot, and so any window, is left alone.

    Args:
        width, height: In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def style_of(arm: str, place: int = 0) -> tuple[str, str]:
    """Colour and marker of an arm; of any other name by its place in a row of such.

    An adapter of a rank, `lora:R`, is marked by its number.
    """
    name, _, rank = arm.partition(":")
    if name == "lora" and rank.isdigit():
        return RANKS[min(int(rank).bit_length() // 2, len(RANKS) - 1)], f"${rank}$"
    return ARMS.get(arm, (SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]))
