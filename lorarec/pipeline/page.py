"""The page of a retraining: what became of each domain now, and how all has gone over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lorarec.config.moments import shown_minute
from lorarec.pipeline.due import DAY
from lorarec.pipeline.history import IDLE, Row
from lorarec.pipeline.state import Journal
from lorarec.report.blocks import Cell, Chart, Section, Table, Text
from lorarec.report.over_time import over_time
from lorarec.report.page import page_of
from lorarec.storage import write_text
from lorarec.tracking.champions import PROMOTE

FOLDER = "pages"
NEWEST = "page.html"
MARKS = {PROMOTE: "good", "failed": "bad", "postponed": "bad"}
WORDS = {
    PROMOTE: "promoted",
    "keep-champion": "champion kept",
    "keep-base": "base kept",
    IDLE: "not due",
}


def write_page(work: Path, journal: Journal, rows: Sequence[Row], metric: str, keep: int) -> Path:
    """Write the page of a retraining, and let `page.html` be it.

    Args:
        work: Its folder: `pages/<id>.html` is written there.
        journal: Of the retraining.
        rows: The whole history, the retraining's own rows among them.
        metric: What the gate compares, such as `recall@20`.
        keep: How many pages stay; older ones go.

    Raises:
        StoreError: The disk refused.
    """
    html = page_html(journal, rows, metric)
    path = work / FOLDER / f"{journal.id}.html"
    write_text(path, html)
    write_text(work / NEWEST, html)
    for old in sorted((work / FOLDER).glob("*.html"))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def page_html(journal: Journal, rows: Sequence[Row], metric: str) -> str:
    """The page as one HTML file that needs no other."""
    own = [row for row in rows if row.retrain == journal.id]
    subtitle = f"Retraining {journal.id} of {shown_minute(journal.at)} UTC."
    sections = [_now(journal, own, metric), _over_time(rows, metric)]
    return page_of(sections, "Retraining", subtitle, pictures=False).html


def _now(journal: Journal, own: Sequence[Row], metric: str) -> Section:
    section = Section(
        "now",
        "What became of each domain",
        "A challenger is promoted where the gate says yes; otherwise what served goes on serving.",
    )
    if journal.failed:
        for what, why in journal.failed.items():
            section.blocks.append(Text(f"{what} failed: {why}", "missing"))
    if own:
        columns = ("domain", "verdict", metric, "coverage", "drift", "new rows", "bytes",
                   "seconds", "days behind", "why")  # fmt: skip
        cells = [_cells(row) for row in own]
        note = (
            f"{metric} and coverage are those of what serves now, on the part that decided; drift "
            "is of the rows since the adapter before, in bits above chance; days behind is from "
            "the newest row that what serves was trained on."
        )
        section.blocks.append(Table("This retraining", columns, cells, note))
    facts = [(name, text) for name, text in _facts(journal) if text]
    if facts:
        section.blocks.append(Table("Logs and base", ("", "what"), facts))
    return section.or_missing("No domain was due, and none is known.")


def _facts(journal: Journal) -> list[tuple[str, str]]:
    logs, base = journal.ingested, journal.base
    facts = []
    if logs is not None:
        facts.append(("logs", f"{logs.added:,} new rows, {logs.rows:,} in all"))
        facts.append(("digest of the data set", logs.digest))
    if base is not None:
        word = "kept" if not base.due or base.error else f"pretrained in {base.seconds:.0f} s"
        facts += [("base", f"{word}: {base.reason}"), ("its run", base.run)]
        facts.append(("its digest", base.digest))
    return facts


def _cells(row: Row) -> list[Cell | str]:
    word = WORDS.get(row.verdict, row.verdict)
    why = row.reason if len(row.reason) <= 60 else f"{row.reason[:59]}…"
    return [
        row.domain,
        Cell(word, small=_served(row), mark=MARKS.get(row.verdict, "")),
        _number(row.recall, ".4f"),
        _number(row.coverage, ".2f"),
        _number(row.drift, ".3f"),
        f"{row.rows:,}",
        "" if row.bytes is None else f"{row.bytes:,}",
        _number(row.seconds, ".1f"),
        _number(row.fresh_days, ".1f"),
        why,
    ]


def _served(row: Row) -> str:
    return "the base serves" if row.version is None else f"version {row.version} serves"


def _number(value: float | None, form: str) -> str:
    return "" if value is None or not math.isfinite(value) else format(value, form)


def _over_time(rows: Sequence[Row], metric: str) -> Section:
    section = Section(
        "time",
        "Over time",
        "Of each domain, every retraining in which it was due. A ring is a promotion.",
    )
    wanted = (
        ("recall", metric, f"{metric} of what serves, on the part that decided"),
        ("coverage", "share of the catalogue", "How much of the catalogue is recommended"),
        ("drift", "bits above chance", "Drift of new rows from those that the adapter had"),
        ("fresh_days", "days", "Days behind: from the newest row that what serves learnt from"),
        ("bytes", "bytes", "Size of the adapter that was trained"),
        ("seconds", "seconds", "Time for training and gate"),
    )
    for name, label, caption in wanted:
        lines: dict[str, list[tuple[float, float]]] = {}
        rings: dict[str, list[tuple[float, float]]] = {}
        for row in sorted(rows, key=lambda row: (row.domain, row.at)):
            value = getattr(row, name)
            if value is None or not math.isfinite(value):
                continue
            point = (row.at / DAY, float(value))
            lines.setdefault(row.domain, []).append(point)
            if row.verdict == PROMOTE and name == "recall":
                rings.setdefault(row.domain, []).append(point)
        if lines:
            figure = over_time(lines, label, rings, share=name == "coverage")
            alt = f"{caption}, a line for each of {len(lines)} domains"
            shown = f"time-{name.replace('_', '-')}"
            section.blocks.append(Chart(shown, figure, caption, alt))
    return section.or_missing("There is no measurement yet.")
