"""`lorarec adapt --rank 2,4,8` and the curve of `--rank auto`: ranks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.evaluation.rank_curve import RankCurve
    from lorarec.jobs.sweep import Swept


def adapt_ranks(
    settings: Settings, domain: str, base: str | None, paths: Sequence[Path], as_json: bool
) -> None:
    """Train an adapter of each rank and print them side by side."""
    from lorarec.cli.listening import listening
    from lorarec.jobs.sweep import sweep
    from lorarec.tracking.store import open_store

    with listening() as listener:
        done = sweep(settings, domain, open_store(settings.tracking), base, paths, listener)
    command = f"lorarec evaluate --domain {domain}"
    if as_json:
        print_json({**_record(done), "next": command})
        return
    print_table(
        ["rank", "parameters", "of full", "kB", "recall@20", "± SE", "nDCG", "seconds", "remark"],
        [
            (
                rank,
                each.size.parameters,
                f"{each.size.share_of_full:.1%}",
                round(each.stored / 1000),
                done.curve.points[rank].mean,
                done.curve.points[rank].error,
                done.curve.ndcg[rank],
                round(each.seconds, 1),
                _remark(done.curve, rank),
            )
            for rank, each in done.adapters.items()
        ],
        title=f"Sweep {done.run}, by {done.curve.users:,} validation users",
    )
    print_table(
        ["rank", "adapter"],
        [(rank, each.run) for rank, each in done.adapters.items()],
        whole=("adapter",),
    )
    say(_rule(done.curve))
    say(f"Side by side in MLflow: lorarec ui {done.run}")
    say(f"Next: {command}")


def print_curve(curve: RankCurve) -> None:
    """The curve of `--rank auto`: one adapter truncated to every rank of the grid."""
    print_table(
        ["rank of all", "recall@20", "± SE", "behind the best", "± SE", "nDCG", "remark"],
        [
            (
                rank,
                point.mean,
                point.error,
                point.behind,
                point.behind_error,
                curve.ndcg[rank],
                _remark(curve, rank),
            )
            for rank, point in sorted(curve.points.items())
        ],
        title=f"Truncated, by {curve.users:,} validation users",
    )


def _remark(curve: RankCurve, rank: int) -> str:
    words = {"best": rank == curve.best, "chosen": rank == curve.chosen}
    return ", ".join(word for word, holds in words.items() if holds)


def _rule(curve: RankCurve) -> str:
    point = curve.points[curve.chosen]
    behind = (
        "the best itself"
        if curve.chosen == curve.best
        else f"{point.behind:.4f} ± {point.behind_error:.4f} behind rank {curve.best}"
    )
    return (
        f"Chosen: rank {curve.chosen}, the smallest within one standard error of the best "
        f"({behind}, users paired). Later commands take it; name another with --adapter."
    )


def _record(done: Swept) -> dict[str, object]:
    return {
        "run": done.run,
        "adapter": done.chosen.run,
        "curve": done.curve.record(),
        "ranks": [
            {
                "rank": rank,
                "run": each.run,
                "adapter_digest": each.adapter.info.digest,
                "targets": each.adapter.info.config.describe(),
                "parameters": each.size.parameters,
                "parameters_full": each.size.full,
                "bytes_on_disk": each.stored,
                "learning_rate": each.adapter.info.learning_rate,
                "metrics": each.adapter.info.metrics,
                "untrained": each.untrained,
                "seconds": each.seconds,
                "warnings": each.warnings,
            }
            for rank, each in done.adapters.items()
        ],
    }
