"""The page of a report: it stands alone, says what is missing, and a browser is content with it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorarec.data.describe import Description, DomainSummary
from lorarec.evaluation.calibration import ScoreSample
from lorarec.evaluation.one_standard_error import smallest_within, standings
from lorarec.evaluation.rank_curve import RankCurve
from lorarec.report.content import Content, Cost, Evaluation, Likeness, Listed, Training
from lorarec.report.page import DARK, Page, render

EVIL = "<script>alert('x')</script>"
DOMAIN = f"$b_{{ooks}} & {EVIL}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def cell(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 40}


def arm(mean: float, parameters: int | None) -> dict[str, Any]:
    metrics = {f"{m}_at_{k}": cell(mean) for m in ("recall", "ndcg") for k in (10, 20)}
    counts = {"users": 40, "cold_users": None, "held_out_items": 90, "outside_catalogue": None}
    return {
        "parameters": parameters,
        "metrics": metrics,
        "coverage": {},
        "counts": counts,
        "segments": {"known_users": metrics, "tail_items": metrics},
    }


def evaluation(domain: str) -> Evaluation:
    rng = np.random.default_rng(0)
    sample = ScoreSample.of(rng.normal(1, 1, 50), rng.normal(0, 1, 50))
    return Evaluation(
        domain=domain,
        part="test",
        run="runs:/" + "0" * 32,
        arms={"popularity": arm(0.1, None), "base": arm(0.2, 0), "lora": arm(0.3, 1000)},
        minus_base={
            "lora": {"recall_at_20": cell(0.1) | {"p_value": 0.002}},
            "popularity": {"recall_at_20": cell(-0.1) | {"p_value": 0.002}},
        },
        drift={"items": 0.1, "items_by_chance": 0.05},
        gains={"lora": {"recall_at_20": np.array([0.5, 0.0, -0.25])}},
        scores={"base": sample, "lora": sample},
    )


def summary(domain: str) -> DomainSummary:
    return DomainSummary(domain, 100, 40, 30, 0, 0.1, None, None)


def full() -> Content:
    points = standings({1: np.arange(5.0) / 10, 2: np.ones(5) / 4})
    curve = RankCurve(DOMAIN, points, {1: 0.1, 2: 0.2}, 5, 0.1, smallest_within(points))
    return Content(
        made="today",
        facts=[("base", EVIL)],
        k=20,
        evaluations=[evaluation(DOMAIN), evaluation("games")],
        holm=[
            {"domain": "games", "arm": "lora", "metric": "recall_at_20", "interval": cell(-0.1),
             "adjusted": 0.004, "verdict": "worse"},
        ],
        logs=Description(
            summary("all"), (summary(DOMAIN), summary("games")), ((40, 5), (5, 40)),
            ((30, 3), (3, 30)),
        ),
        curves=[curve],
        costs=[Cost("games", "runs:/1", "8", 1000, 9000, 4096, 0.3)],
        trainings=[
            Training("base", "runs:/1", [(1, 2.0), (2, 1.0)], [(0, 0.1), (1, 0.2)], 1),
            Training(DOMAIN, "runs:/2", [(1, 2.0)], [], None),
        ],
        likeness=[Likeness("items", [DOMAIN, "games"], np.array([[0.0, 0.8], [0.8, np.nan]]))],
        lists=[
            Listed("games", EVIL, "By lot", [EVIL], ["held"], [(EVIL, False)], [("held", True)])
        ],
    )  # fmt: skip


EMPTY = Content(made="today", facts=[], k=20, evaluations=[])


class Seen(HTMLParser):
    """Tags with their attributes, and what stands in each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section = ""
        self.missing: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append((tag, own))
        if tag == "section":
            self.section = str(own["id"])
            self.missing[self.section] = 0
        if "missing" in str(own.get("class", "")).split():
            self.missing[self.section] += 1


@pytest.fixture(scope="module")
def rendered() -> Page:
    return render(full(), f"Report {EVIL}")


@pytest.fixture(scope="module")
def page(rendered: Page) -> str:
    return rendered.html


def test_nothing_is_fetched_from_anywhere(page: str) -> None:
    assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]|url\((?!#)|@import", page, re.IGNORECASE)
    for tag, attributes in Seen(page).tags:
        assert tag not in {"script", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))


def test_ids_and_titles_are_text_and_no_markup(page: str) -> None:
    assert EVIL not in page
    assert "<script" not in page.lower()
    assert page.count(html.escape(EVIL, quote=False).replace("'", "&#39;")) >= 5


def test_ids_are_unique_and_every_reference_has_one(page: str) -> None:
    tags = Seen(page).tags
    ids = [own["id"] for _, own in tags if "id" in own]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert wanted <= set(ids)


def test_pictures_have_alternatives_and_tables_have_headers(page: str) -> None:
    tags = Seen(page).tags
    pictures = [own for tag, own in tags if tag == "svg"]
    assert pictures
    assert all(own["role"] == "img" and own["aria-label"] for own in pictures)
    tables = sum(tag == "table" for tag, _ in tags)
    assert sum(tag == "caption" for tag, _ in tags) == tables > 5
    assert all(own.get("scope") in {"row", "col"} for tag, own in tags if tag == "th")


def test_no_section_of_a_full_report_is_missing_anything(page: str) -> None:
    assert set(Seen(page).missing.values()) == {0}


def test_an_empty_report_has_the_same_sections_and_each_says_what_it_lacks(page: str) -> None:
    empty = Seen(render(EMPTY).html)
    assert list(empty.missing) == list(Seen(page).missing)
    assert all(count > 0 for count in empty.missing.values())


def test_why_the_logs_could_not_be_read_is_told(page: str) -> None:
    told = Content("today", [], 20, [], missing={"logs": "The logs are gone.", "lists": "Alas."})
    found = render(told).html
    assert "The logs are gone." in found
    assert "Alas." in found


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_light_and_on_dark() -> None:
    # WCAG 2: 4.5 for text, which all but the rule may be.
    rule = "#e3e6ea"
    for light, dark in DARK.items():
        if light != rule:
            assert contrast(light, "#ffffff") >= 4.5, light
            assert contrast(dark, "#16181b") >= 4.5, dark


def test_each_picture_is_a_png_too(rendered: Page) -> None:
    assert len(rendered.pictures) == rendered.html.count("<svg") > 5
    assert all(png.startswith(b"\x89PNG\r\n\x1a\n") for png in rendered.pictures.values())


def browse(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={file.parent / 'profile'}", *arguments, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


@needs_browser
def test_a_browser_has_nothing_to_complain_of(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    # A message of its own shows that messages would be seen.
    probe = tmp_path / "probe.html"
    probe.write_text("<script>console.error('seen')</script>")
    assert "CONSOLE" in browse(probe, "--dump-dom").stderr
    file.write_text(page)
    done = browse(file, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<section") == len(Seen(page).missing)


@needs_browser
def test_on_a_phone_nothing_but_tables_is_wider_than_the_screen(page: str, tmp_path: Path) -> None:
    file = tmp_path / "frame.html"
    file.write_text(
        f'<iframe id="f" style="width:390px;height:800px" srcdoc="{html.escape(page)}"></iframe>'
        "<script>onload = () => { const page = document.getElementById('f').contentDocument;"
        "document.title = 'wide ' + page.documentElement.scrollWidth"
        " + ' of ' + page.documentElement.clientWidth }</script>"
    )
    wide, screen = re.search(r"wide (\d+) of (\d+)", browse(file, "--dump-dom").stdout).groups()  # type: ignore[union-attr]
    assert int(wide) <= int(screen) <= 390
