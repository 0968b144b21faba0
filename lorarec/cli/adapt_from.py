"""`lorarec adapt --from ADAPTER`: what is printed of an adapter that was trained further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lorarec.config import Settings


def adapt_from(
    settings: Settings,
    domain: str,
    adapter: str,
    base: str | None,
    paths: Sequence[Path],
    freeze_shared: bool,
    as_json: bool,
) -> None:
    """Train an adapter further and print it beside where it began."""
    from lorarec.cli.listening import listening
    from lorarec.jobs.continuing import continue_adapter
    from lorarec.tracking.store import open_store

    with listening() as listener:
        done = continue_adapter(
            settings,
            domain,
            adapter,
            open_store(settings.tracking),
            base,
            paths,
            freeze_shared,
            listener,
        )
    info, size, parent = done.adapter.info, done.size, done.parent
    if as_json:
        print_json(
            {
                "run": done.run,
                "domain": domain,
                "parents": [parent.name],
                "moved": done.moved,
                "targets": info.config.describe(),
                "adapter_digest": info.digest,
                "base_digest": info.base_digest,
                "data_digest": info.data_digest,
                "new": done.new,
                "freeze_shared": freeze_shared,
                "proximal": settings.adapt.proximal,
                "drift": {name: asdict(each) for name, each in done.drift.items()},
                "parameters": size.parameters,
                "parameters_factors": size.factors,
                "parameters_grown": size.grown,
                "parameters_full": size.full,
                "learning_rate": info.learning_rate,
                "best_epoch": done.history.best_epoch,
                "seconds": done.seconds,
                "bytes_on_disk": done.stored,
                "before": done.before,
                "metrics": info.metrics,
            }
        )
        return
    counts = parent.info.parameters
    print_table(
        ["adapter", "targets", "parameters", "kB on disk", "seconds"],
        [
            (
                parent.name,
                parent.info.config.describe(),
                counts["factors"] + counts["grown"],
                round(parent.stored / 1000),
                None,
            ),
            (
                done.run,
                info.config.describe(),
                size.parameters,
                round(done.stored / 1000),
                round(done.seconds, 1),
            ),
        ],
        whole=("adapter",),
    )
    print_table(
        ["without a new row", "vectors", "mean drift", "largest"],
        [(name, each.rows, each.mean, each.largest) for name, each in done.drift.items()],
        title="Drift, in shares of a vector's length",
    )
    print_table(
        ["validation", "recall@20", "nDCG"],
        [
            (name, metrics.get("valid_recall_at_20"), metrics.get("valid_ndcg"))
            for name, metrics in (("before", done.before), ("after", info.metrics))
        ],
    )
    say(f"Next: lorarec evaluate --domain {domain}")
