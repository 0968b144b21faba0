"""The page: sections as one HTML file that needs no other, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from lorarec.evaluation.chart_style import CHOSEN, GRID, INK, MUTED, SERIES
from lorarec.report.blocks import Chart, Section
from lorarec.report.content import Content
from lorarec.report.drawing import VARIABLES, png, svg
from lorarec.report.sections import sections

DARK = {
    INK: "#e8eaed",
    MUTED: "#a5adb6",
    GRID: "#33383e",
    CHOSEN: "#ff8a7a",
    **dict(
        zip(
            SERIES,
            (
                "#8cc0f0", "#b4bac0", "#ff8a79", "#a5b4ff", "#e3b45c",
                "#6fd29b", "#bda6f7", "#5fd0e6", "#f48abb", "#d6a878", "#c3cf7c",
                "#7cc7ff", "#b0bbf5", "#cdb4ff", "#66d1bf", "#a9b8ff", "#b8c4cb",
            ),
            strict=True,
        )
    ),
}  # fmt: skip
"""Colours of the style → those of a dark page."""


@dataclass(frozen=True)
class Page:
    """A report, rendered."""

    html: str
    pictures: dict[str, bytes]
    """PNG by file name, such as `recall-0-books.png`."""


def render(content: Content, title: str = "lorarec report") -> Page:
    """The page of a report and its pictures.

    Args:
        content: What it shows.
        title: Above it, and of the window.
    """
    subtitle = f"Made {content.made}. Tables show k = {content.k}."
    return page_of(sections(content), title, subtitle)


def page_of(found: Sequence[Section], title: str, subtitle: str, pictures: bool = True) -> Page:
    """Sections as a page, and their pictures.

    Args:
        found: In their order.
        title: Above it, and of the window.
        subtitle: A sentence or two below that.
        pictures: Whether the charts are wanted as PNG as well.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    charts = [block for section in found for block in section.blocks if isinstance(block, Chart)]
    drawn = {chart.name: Markup(svg(chart.figure, chart.name, chart.alt)) for chart in charts}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("lorarec.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    html = environment.from_string(source).render(
        title=title,
        subtitle=subtitle,
        sections=found,
        drawn=drawn,
        light={name: color for color, name in VARIABLES.items()},
        dark={VARIABLES[color]: dark for color, dark in DARK.items()},
    )
    wanted = charts if pictures else []
    return Page(html, {f"{chart.name}.png": png(chart.figure) for chart in wanted})
