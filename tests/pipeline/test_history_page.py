"""The page of a retraining: every domain, every verdict, pictures that many domains fit into."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorarec.evaluation.chart_style import SERIES
from lorarec.pipeline.history import Row
from lorarec.pipeline.page import NEWEST, page_html, write_page
from lorarec.pipeline.state import DomainStep, Ingested, Journal

DAY = 86_400
AT = 1_770_000_000


def rows(domains: int, days: int = 3) -> list[Row]:
    return [
        Row(f"r{day}", AT + day * DAY, f"d{number}", "promote" if day else "keep-base",
            recall=0.1 * number + 0.01 * day, coverage=0.5, drift=0.02, bytes=1000, seconds=1.5,
            fresh_days=7.0, rows=10, version=day or None)
        for day in range(days)
        for number in range(domains)
    ]  # fmt: skip


def journal(day: int) -> Journal:
    return Journal.begun(AT + day * DAY).model_copy(update={"id": f"r{day}"})


def test_all_pictures_and_all_domains_are_there() -> None:
    html = page_html(journal(2), rows(3), "recall@20")
    assert html.count("<svg") == 6
    assert all(f">d{number}<" in html for number in range(3))
    assert "promoted" in html
    assert "version 2 serves" in html


def test_more_domains_than_colours_have_a_median() -> None:
    many = len(SERIES) + 1
    html = page_html(journal(2), rows(many), "recall@20")
    assert f"median of {many} domains" in html


def test_what_failed_stands_at_the_top_with_its_reason() -> None:
    bad = journal(2).model_copy(
        update={
            "ingested": Ingested(digest="d", generation=0, rows=1, added=1, refused={}),
            "domains": {"d0": DomainStep(stage="failed", reason="", overdue=1, error="<no rows>")},
        }
    )
    assert "d0 failed: &lt;no rows&gt;" in page_html(bad, rows(1), "recall@20")


def test_before_anything_was_measured_it_says_so() -> None:
    assert "There is no measurement yet." in page_html(journal(0), [], "recall@20")


def test_the_newest_pages_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorarec.pipeline.page.page_html", lambda journal, *_: journal.id)
    for day in range(5):
        write_page(tmp_path, journal(day), [], "recall@20", keep=2)
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["r3.html", "r4.html"]
    assert (tmp_path / NEWEST).read_text() == "r4"
