"""`lorarec evaluate --folds N --window 7d`: a row for each window and arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lorarec.config import Settings


def by_folds(
    settings: Settings,
    domain: str,
    folds: int,
    window: str,
    base: str | None,
    paths: Sequence[Path],
    as_json: bool,
) -> None:
    """Back-test a domain and print every fold.

    Args:
        settings: With the command's options.
        domain: Its name.
        folds: How many windows.
        window: Their length, such as `7d`.
        base: The base whose logs are taken; None is the newest.
        paths: Other logs.
        as_json: Print one JSON document.
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.backtest import backtest, summary
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        found = backtest(settings, domain, store, folds, window, base, paths, listener)
    cuts = settings.evaluate.k
    k = 20 if 20 in cuts else cuts[0]
    key = f"recall_at_{k}"
    totals = summary(found, key)
    if as_json:
        print_json({**found.record(), "summary": {"metric": key, "arms": totals}})
        return
    rows: list[tuple[object, ...]] = []
    for fold in found.folds:
        shown = fold.record()
        for arm, result in fold.evaluated.results.items():
            mean = result.intervals[key]
            difference = fold.evaluated.differences.get(arm, {}).get(key)
            delta = ""
            if difference is not None:
                ends = difference.interval
                delta = f"{ends.mean:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]"
            users = f"{result.counts.users:,}"
            rows.append((str(shown["test"])[:10], arm, users, f"{mean.mean:.4f}", delta))
    for arm, own in totals.items():
        above = "" if arm == "base" else f"above in {own['folds_above_base']:.0f}"
        rows.append((f"mean of {len(found.folds)}", arm, "", f"{own['mean']:.4f}", above))
    columns = ["test from", "arm", "users", f"recall@{k}", "minus base"]
    print_table(columns, rows, title=f"{domain}: back-test, windows of {window}", whole=("arm",))
    say(f"Recorded as {found.run}; bases and adapters are in the experiment {found.experiment}.")
