"""The report's pictures: arrays in, figures out, each as wide as a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lorarec.evaluation.calibration import Calibration
from lorarec.evaluation.chart_style import GRID, INK, LINE, MUTED, new_axes, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lorarec.report.content import Evaluation, Training

WIDTH = 4.4
"""Inches: 9 points are then 10 pixels on a phone."""
HEIGHT = 3.2
PARTS = {
    "known_users": "known users",
    "new_users": "new users",
    "active_users": "active users",
    "middling_users": "middling users",
    "quiet_users": "quiet users",
    "head_items": "head items",
    "mid_items": "mid items",
    "tail_items": "tail items",
}
"""Slices in the order in which they are shown."""


def plain(name: str) -> str:
    """A name as matplotlib shows it: no formula, and no legend entry that hides."""
    shown = name.replace("$", r"\$")
    shown = shown if len(shown) <= 24 else shown[:23] + "…"
    return f" {shown}" if shown.startswith("_") else shown


def differences(evaluation: Evaluation, key: str) -> Figure:
    """Each arm minus the frozen base, with its interval."""
    arms = [arm for arm in evaluation.minus_base if key in evaluation.minus_base[arm]]
    figure, axes = new_axes(WIDTH, 0.9 + 0.3 * len(arms))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.axvline(0, color=MUTED, linewidth=1.2, linestyle="--")
    for place, arm in enumerate(arms):
        found = evaluation.minus_base[arm][key]
        color, marker = style_of(arm, place)
        ends = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]]
        axes.errorbar(
            [found["mean"]], [place], xerr=ends, color=color, marker=marker, markersize=6,
            capsize=3, linewidth=1.6,
        )  # fmt: skip
    axes.set_yticks(range(len(arms)), [plain(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlabel(f"{shown(key)} minus the frozen base", fontsize=9)
    return figure


def by_cut(evaluation: Evaluation) -> Figure:
    """Recall of each arm at each k."""
    figure, axes = new_axes(WIDTH, HEIGHT)
    cuts = evaluation.cuts
    for place, (arm, result) in enumerate(evaluation.arms.items()):
        color, marker = style_of(arm, place)
        cells = [result["metrics"][f"recall_at_{k}"] for k in cuts]
        axes.plot(
            cuts, [cell["mean"] for cell in cells], color=color, marker=marker, markersize=5,
            linewidth=1.6, linestyle="--" if arm == "base" else "-", label=plain(arm),
        )  # fmt: skip
        if arm in ("lora", "base"):
            low, high = ([cell[end] for cell in cells] for end in ("low", "high"))
            axes.fill_between(cuts, low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_xticks(cuts, [str(k) for k in cuts])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("k", fontsize=9)
    axes.set_ylabel("recall@k", fontsize=9)
    legend(figure, axes)
    return figure


def by_size(evaluation: Evaluation, key: str) -> Figure:
    """Recall of each arm against how many numbers it trained; the base, which trained none, is a
    line."""
    from matplotlib.ticker import EngFormatter

    figure, axes = new_axes(WIDTH, HEIGHT)
    for place, (arm, result) in enumerate(evaluation.arms.items()):
        color, marker = style_of(arm, place)
        cell = result["metrics"][key]
        if arm == "base":
            axes.axhspan(cell["low"], cell["high"], color=color, alpha=0.12, linewidth=0)
            axes.axhline(cell["mean"], color=color, linewidth=1.4, linestyle="--", label="base")
        elif result["parameters"]:
            ends = [[cell["mean"] - cell["low"]], [cell["high"] - cell["mean"]]]
            axes.errorbar(
                [result["parameters"]], [cell["mean"]], yerr=ends, color=color, marker=marker,
                markersize=7, capsize=3, linewidth=1.4, linestyle="none", label=plain(arm),
            )  # fmt: skip
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.margins(x=0.15)
    low, high = (round(float(end)) for end in np.log10(axes.get_xlim()))
    if high - low < 1:
        axes.set_xticks([10.0**power for power in (low, low + 1)])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("numbers that the arm trained", fontsize=9)
    axes.set_ylabel(shown(key), fontsize=9)
    legend(figure, axes)
    return figure


def slices(evaluation: Evaluation, key: str, arms: Sequence[str]) -> Figure:
    """A metric in each slice, of a few arms beside each other."""
    names = [name for name in PARTS if any(key in _slice(evaluation, a, name) for a in arms)]
    figure, axes = new_axes(WIDTH, 1.2 + 0.32 * len(names))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    for place, arm in enumerate(arms):
        color, marker = style_of(arm, place)
        at = [row + 0.22 * (place - (len(arms) - 1) / 2) for row in range(len(names))]
        cells = [_slice(evaluation, arm, name).get(key) for name in names]
        have = [(y, cell) for y, cell in zip(at, cells, strict=True) if cell]
        axes.errorbar(
            [cell["mean"] for _, cell in have], [y for y, _ in have],
            xerr=[
                [cell["mean"] - cell["low"] for _, cell in have],
                [cell["high"] - cell["mean"] for _, cell in have],
            ],
            color=color, marker=marker, markersize=5, capsize=2, linewidth=1.4, linestyle="none",
            label=plain(arm),
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [PARTS[name] for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(shown(key), fontsize=9)
    legend(figure, axes)
    return figure


def curve(trainings: Sequence[Training], which: str) -> Figure:
    """`loss` or `recall` of trainings by epoch; a ring is the epoch that was kept."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(WIDTH, HEIGHT)
    for place, training in enumerate(trainings):
        points: Sequence[tuple[int, float]] = getattr(training, which)
        if not points:
            continue
        color, marker = style_of("", place)
        epochs = [epoch for epoch, _ in points]
        values = dict(points)
        axes.plot(
            epochs, list(values.values()), color=color, marker=marker, markersize=4,
            linewidth=1.6, label=plain(training.name),
        )  # fmt: skip
        if training.best in values:
            axes.plot(
                [training.best], [values[training.best]], marker="o", markersize=11,
                markerfacecolor="none", markeredgecolor=color, linestyle="none",
            )  # fmt: skip
    axes.set_xlabel("epoch", fontsize=9)
    labels = {"loss": "training loss", "recall": "validation recall@20"}
    axes.set_ylabel(labels[which], fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure


def gains(values: Mapping[str, Any], key: str) -> Figure:
    """How many users gain and lose how much by an arm: a histogram of those that are not level."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(WIDTH, 2.8)
    found = np.concatenate([np.asarray(v, dtype=np.float64) for v in values.values()])
    moved = found[found != 0]
    edges = np.linspace(-1, 1, 21)
    for side, color, name in ((moved < 0, "#c0392c", "lose"), (moved > 0, LINE, "gain")):
        axes.hist(
            moved[side], bins=edges.tolist(), color=color, alpha=0.85,
            label=f"{int(side.sum()):,} {name}",
        )  # fmt: skip
    axes.axvline(0, color=MUTED, linewidth=1.2, linestyle="--")
    axes.set_xlim(-1.02, 1.02)
    axes.set_xlabel(f"the user's {shown(key)} minus the frozen base's", fontsize=9)
    axes.set_ylabel("users", fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure


def reliability(found: Calibration) -> Figure:
    """How often a score is a held-out item's, by domain."""
    figure, axes = new_axes(WIDTH, HEIGHT)
    bins = range(1, len(found.pooled) + 1)
    axes.plot(
        bins, found.pooled, color=INK, linewidth=2.4, linestyle=":", label="all domains together"
    )
    for place, (domain, rates) in enumerate(found.rates.items()):
        color, marker = style_of("", place)
        axes.plot(
            bins, rates, color=color, marker=marker, markersize=4, linewidth=1.4,
            label=plain(domain),
        )  # fmt: skip
    axes.set_xticks(list(bins))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("tenth of all scores, lowest first", fontsize=9)
    axes.set_ylabel("share that is held out", fontsize=9)
    legend(figure, axes)
    return figure


def shown(key: str) -> str:
    """A metric's key as people write it: `recall_at_20` → recall@20, nDCG@20."""
    name, _, k = key.rpartition("_at_")
    return f"{'nDCG' if name == 'ndcg' else name.replace('_', ' ')}@{k}"


def _slice(evaluation: Evaluation, arm: str, name: str) -> Mapping[str, Mapping[str, float]]:
    found: Mapping[str, Mapping[str, float]] = evaluation.arms[arm]["segments"].get(name, {})
    return found


def legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        widest = max(map(len, labels))
        figure.legend(
            handles, labels, fontsize=8, frameon=False, labelcolor=INK,
            loc="outside lower center", ncols=2 if widest > 14 else 4,
        )  # fmt: skip
