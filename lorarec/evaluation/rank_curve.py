"""Validation recall by rank, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorarec.evaluation.one_standard_error import Standing

WIDTH, HEIGHT, DOTS = 7.2, 4.4, 150
"""Inches, and dots an inch."""
INK, MUTED, CHOSEN = "#1f4e79", "#6b6b6b", "#c0392b"


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


def draw(curve: RankCurve, path: Path, title: str, note: str = "") -> None:
    """Write the curve as a PNG.

    Bars are one standard error of the difference to the best, the same users ranked by both: where
    a bar reaches the line of the best, the rule calls the rank as good. The error of the mean
    itself, which is the same for all ranks but for a little, is told below.

    Args:
        curve: What to draw.
        path: Of the file.
        title: A line above it.
        note: A line below it.

    Raises:
        OSError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ranks = sorted(curve.points)
    points = [curve.points[rank] for rank in ranks]
    means = [point.mean for point in points]
    best = curve.points[curve.best]
    axes.axhline(best.mean, color=INK, linewidth=1, linestyle=":", label=f"best, rank {curve.best}")
    axes.axhline(
        curve.base,
        color=MUTED,
        linewidth=1.2,
        linestyle="--",
        label=f"frozen base, {curve.base:.4f}",
    )
    axes.errorbar(
        ranks, means, yerr=[point.behind_error for point in points],
        color=INK, marker="o", markersize=5, linewidth=1.6, capsize=4,
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
    axes.set_xlabel("rank")
    axes.set_ylabel("validation recall@20")
    axes.set_title(title, loc="left", fontsize=11, pad=10)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=9, framealpha=1, edgecolor="none")
    users = f"{curve.users:,} validation users; standard error of the best's mean {best.error:.4f}"
    figure.supxlabel("\n".join(filter(None, (note, users))), fontsize=8, color=MUTED)
    figure.savefig(path, format="png")
