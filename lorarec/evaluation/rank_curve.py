"""Validation recall by rank, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorarec.evaluation.chart_style import CHOSEN, INK, LINE, MUTED, new_axes
from lorarec.evaluation.one_standard_error import Standing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 7.2, 4.4
"""Inches."""


@dataclass(frozen=True)
class RankCurve:
    """How an adapter of each rank validates."""

    domain: str
    points: dict[int, Standing]
    """By rank, of recall@20 over the validation users."""
    ndcg: dict[int, float]
    """By rank, mean nDCG over the same users, without a cut-off."""
    users: int
    """Validation users."""
    base: float
    """Recall@20 of the frozen base."""
    chosen: int

    @property
    def best(self) -> int:
        """The rank with the highest recall; of equals the smallest."""
        return max(sorted(self.points), key=lambda rank: self.points[rank].mean)

    def metrics(self, rank: int) -> dict[str, float]:
        """One point as a run's metrics."""
        point = self.points[rank]
        return {
            "rank/valid_recall_at_20": point.mean,
            "rank/valid_recall_at_20_standard_error": point.error,
            "rank/behind_best": point.behind,
            "rank/behind_best_standard_error": point.behind_error,
            "rank/valid_ndcg": self.ndcg[rank],
        }

    def record(self) -> dict[str, object]:
        """All of it as JSON takes it."""
        return {
            "domain": self.domain,
            "metric": "valid_recall_at_20",
            "users": self.users,
            "base": self.base,
            "best": self.best,
            "chosen": self.chosen,
            "points": [
                {
                    "rank": rank,
                    "recall": point.mean,
                    "standard_error": point.error,
                    "behind_best": point.behind,
                    "behind_best_standard_error": point.behind_error,
                    "within_one_standard_error": point.within,
                    "ndcg": self.ndcg[rank],
                }
                for rank, point in sorted(self.points.items())
            ],
        }


def read_curve(record: Mapping[str, Any]) -> RankCurve:
    """The curve that `RankCurve.record` wrote down."""
    points = {
        int(point["rank"]): Standing(
            point["recall"],
            point["standard_error"],
            point["behind_best"],
            point["behind_best_standard_error"],
        )
        for point in record["points"]
    }
    ndcg = {int(point["rank"]): float(point["ndcg"]) for point in record["points"]}
    return RankCurve(
        record["domain"], points, ndcg, record["users"], record["base"], record["chosen"]
    )


def draw(curve: RankCurve, path: Path, title: str, note: str = "") -> None:
    """Write the curve as a PNG, as `figure_of` draws it.

    Args:
        curve: What to draw.
        path: Of the file.
        title: A line above it.
        note: A line below it.

    Raises:
        OSError: The file cannot be written.
    """
    figure_of(curve, title, note).savefig(path, format="png")


def figure_of(
    curve: RankCurve,
    title: str = "",
    note: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Figure:
    """The curve as a figure.

    Bars are one standard error of the difference to the best, the same users ranked by both: where
    a bar reaches the line of the best, the rule calls the rank as good. The error of the mean
    itself, which is the same for all ranks but for a little, is told below.

    Args:
        curve: What to draw.
        title: A line above it.
        note: A line below it.
        width, height: In inches.
    """
    figure, axes = new_axes(width, height)
    ranks = sorted(curve.points)
    points = [curve.points[rank] for rank in ranks]
    means = [point.mean for point in points]
    best = curve.points[curve.best]
    axes.axhline(
        best.mean, color=LINE, linewidth=1, linestyle=":", label=f"best, rank {curve.best}"
    )
    axes.axhline(
        curve.base,
        color=MUTED,
        linewidth=1.2,
        linestyle="--",
        label=f"frozen base, {curve.base:.4f}",
    )
    axes.errorbar(
        ranks, means, yerr=[point.behind_error for point in points],
        color=LINE, marker="o", markersize=5, linewidth=1.6, capsize=4,
        label="adapter, ± SE of its gap to the best",
    )  # fmt: skip
    axes.plot(
        [curve.chosen], [curve.points[curve.chosen].mean],
        marker="o", markersize=12, markerfacecolor="none", markeredgecolor=CHOSEN,
        markeredgewidth=2, linestyle="none", label=f"chosen, rank {curve.chosen}",
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(rank) for rank in ranks])
    axes.minorticks_off()
    size = 10 if width >= WIDTH else 9
    axes.set_xlabel("rank", fontsize=size)
    axes.set_ylabel("validation recall@20", fontsize=size)
    if title:
        axes.set_title(title, loc="left", fontsize=11, pad=10)
    axes.legend(fontsize=size - 1, framealpha=0, edgecolor="none", labelcolor=INK)
    users = f"{curve.users:,} validation users; standard error of the best's mean {best.error:.4f}"
    figure.supxlabel("\n".join(filter(None, (note, users))), fontsize=8, color=MUTED)
    return figure
