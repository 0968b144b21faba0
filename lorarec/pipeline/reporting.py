"""The report of all domains on the base of now, as `lorarec report` writes it."""

from __future__ import annotations

from pathlib import Path

from lorarec.config import Settings
from lorarec.jobs.evaluate_domains import evaluate_domains
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.report import report
from lorarec.tracking.store import Store

FOLDER = "reports"
PART = "test"


def report_all(
    settings: Settings, store: Store, base: str, out: Path, listen: Listener = SILENT
) -> Path:
    """Evaluate every domain and write one page of it; the oldest pages beside it go.

    Args:
        settings: `[evaluate]` says which arms; `[pipeline] keep` how many pages stay.
        store: Where the runs go.
        base: URI of the base.
        out: The page's file.
        listen: Takes words.

    Raises:
        LorarecError: There is nothing to evaluate, or the page cannot be written.
    """
    found = evaluate_domains(settings, store, base, PART, (), listen)
    report(settings, store, [found.run], out, listen=listen)
    for old in sorted(out.parent.glob("*.html"))[: -settings.pipeline.keep]:
        old.unlink(missing_ok=True)
    return out
