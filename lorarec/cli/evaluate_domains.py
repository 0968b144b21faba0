"""`lorarec evaluate --all-domains`: what is printed of many domains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.evaluate_domains import EvaluatedDomains

_MARKS = {"better": "better", "worse": "WORSE", "level": ""}


def evaluate_many(
    settings: Settings, base: str | None, part: str, paths: Sequence[Path], as_json: bool
) -> None:
    """Evaluate every domain and print them all.

    Args:
        settings: With the command's options.
        base: URI of a base; None is the newest.
        part: Part of the split.
        paths: Other logs than the base's.
        as_json: Print one JSON document.
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.evaluate_domains import evaluate_domains
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        found = evaluate_domains(settings, store, base, part, paths, listener)
    if as_json:
        print_json(found.record())
        return
    _print(found, settings.evaluate.k)


def _print(found: EvaluatedDomains, cuts: tuple[int, ...]) -> None:
    k = 20 if 20 in cuts else cuts[0]
    key = f"recall_at_{k}"
    differences = {(d.domain, d.arm): d for d in found.differences if d.metric == key}
    rows: list[tuple[object, ...]] = []
    for domain, own in found.domains.items():
        for arm, result in own.results.items():
            mean, ndcg = (result.intervals[f"{m}_at_{k}"].mean for m in ("recall", "ndcg"))
            cells: tuple[object, ...] = ("", "", "")
            if (difference := differences.get((domain, arm))) is not None:
                ends = difference.interval
                shown = f"{ends.mean:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]"
                cells = (shown, f"{difference.adjusted:.3f}", _MARKS[difference.verdict])
            rows.append((domain, arm, f"{mean:.4f}", f"{ndcg:.4f}", *cells))
    for arm, by_metric in found.means.items():
        ends = by_metric[key]
        shown = f"{ends.mean:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]"
        rows.append(("mean of all", arm, "", "", shown, "", ""))
    columns = ["domain", "arm", f"recall@{k}", f"nDCG@{k}", "minus base", "p (Holm)", ""]
    title = f"{len(found.domains)} domains, {found.part}: full ranking"
    print_table(columns, rows, title=title, whole=("domain", "arm"))
    worse = sorted({(d.domain, d.arm) for d in differences.values() if d.verdict == "worse"})
    if worse:
        say("Negative transfer: " + ", ".join(f"{arm} in {domain}" for domain, arm in worse) + ".")
    elif differences:
        say("No arm is below the base by more than chance in any domain.")
    say(
        f"minus base: paired difference of recall@{k}, bracket and p corrected over domains by "
        f"Holm's procedure. The mean is over domains that have the arm."
    )
    say(f"Recorded as {found.run}, a run for each domain under it.")
