"""A figure as SVG that takes the page's colours, and as PNG."""

from __future__ import annotations

import re
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

from lorarec.evaluation.chart_style import CHOSEN, GRID, INK, MUTED, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--rule",
    CHOSEN: "--chosen",
    **{color: f"--series-{place}" for place, color in enumerate(SERIES)},
}
"""Colours of the style → CSS variables, which a dark page sets to others."""

_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_NAMESPACE = re.compile(r'\sxmlns(:\w+)?="[^"]*"')
_ID = re.compile(r'\sid="([^"]*)"')
_SIZE = re.compile(r'\s(width|height)="[\d.]+pt"')
_FONT = re.compile(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]*")


def svg(figure: Figure, name: str, alt: str) -> str:
    """A figure as inline SVG: no namespace, no id that another figure has, text as text.

    Args:
        figure: Drawn in the style's colours.
        name: Of the chart, unique in the page; letters, digits and dashes.
        alt: What it shows, for whoever does not see it; plain text.
    """
    import matplotlib
    from markupsafe import escape

    text = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = _METADATA.sub("", _HEAD.sub("", text.getvalue()))
    drawn = _SIZE.sub("", _NAMESPACE.sub("", drawn, count=0), count=2)
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", drawn))
    drawn = _ID.sub(lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", drawn)
    drawn = re.sub(r"(xlink:href=\"#|url\(#)", rf"\g<1>{name}-", drawn)
    drawn = drawn.replace("xlink:href", "href")
    drawn = _FONT.sub(r"font: \1\2px var(--sans)", drawn)
    for color, variable in VARIABLES.items():
        drawn = re.sub(rf"{color}\b", f"var({variable})", drawn, flags=re.IGNORECASE)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).strip()


def png(figure: Figure) -> bytes:
    """A figure as PNG, on white."""
    content = BytesIO()
    figure.savefig(content, format="png", facecolor="white")
    return content.getvalue()
