"""The sections that hold domains beside each other: what they share, and what a score means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorarec.evaluation.calibration import calibration
from lorarec.report import charts
from lorarec.report.blocks import Cell, Chart, Section, Table, Text
from lorarec.report.content import Content, Likeness

MAPPED = 12
"""Domains in a map at most: the largest. A wider one cannot be read."""


def mapped(content: Content) -> Section:
    """What domains share, and how alike their adapters are."""
    section = Section(
        "map", "A map of the domains",
        "Which share users and items, and whose adapters move the base alike.",
    )  # fmt: skip
    if content.logs is not None and len(content.logs.domains) > 1:
        names = content.logs.names()[:MAPPED]
        for kind, overlap in (
            ("users", content.logs.user_overlap),
            ("items", content.logs.item_overlap),
        ):
            section.blocks.append(_shared(names, overlap, kind))
        if len(content.logs.domains) > MAPPED:
            text = f"The {MAPPED} largest of {len(content.logs.domains)} domains are shown."
            section.blocks.append(Text(text))
    elif content.logs is not None:
        section.blocks.append(Text("The logs have one domain, which shares nothing.", "missing"))
    else:
        why = content.missing.get("logs", "The logs were not read.")
        section.blocks.append(Text(why, "missing"))
    section.blocks += [_alike(likeness) for likeness in content.likeness]
    if content.likeness:
        section.blocks.append(
            Text(
                "Distance of adapters: mean |δa - δb| ÷ (mean |δa| + mean |δb|) over the rows of "
                "either. 0 is the same, 1 nothing in common or opposite, about 0.71 at a right "
                "angle. Fuller colour is more alike.",
                "note",
            )
        )
    if not content.likeness:
        section.blocks.append(
            Text(
                content.missing.get(
                    "likeness", "Fewer than two domains have an adapter, so none can be compared."
                ),
                "missing",
            )
        )
    return section


def _shared(names: Sequence[str], overlap: Sequence[Sequence[int]], kind: str) -> Table:
    rows: list[list[Cell | str]] = []
    for a, name in enumerate(names):
        row: list[Cell | str] = [name]
        for b in range(len(names)):
            share = overlap[a][b] / overlap[a][a] if overlap[a][a] else 0.0
            row.append(Cell(f"{overlap[a][b]:,}", "" if a == b else f"{share:.0%}", shade=share))
        rows.append(row)
    return Table(
        f"Shared {kind}",
        ["", *names],
        rows,
        f"How many {kind} of the row's domain are in the column's too, and which share of them.",
    )


def _alike(likeness: Likeness) -> Table:
    rows: list[list[Cell | str]] = []
    for a, name in enumerate(likeness.names):
        distances = likeness.distance[a]
        row: list[Cell | str] = [name]
        row += [
            Cell("-" if np.isnan(d) else f"{d:.2f}", shade=0.0 if np.isnan(d) else 1 - float(d))
            for d in distances
        ]
        rows.append(row)
    return Table(
        f"Distance of adapters: {likeness.part}",
        ["", *likeness.names],
        rows,
    )


def calibrated(content: Content) -> Section:
    """Whether a score means the same in every domain."""
    section = Section(
        "calibration", "Calibration between domains",
        "Of held-out pairs and as many drawn from the same users and the catalogue, the share that "
        "is held out, by score. Where the domains' lines lie on one, a score means the same "
        "chance in each, and lists of several domains can be merged by score.",
    )  # fmt: skip
    gaps: dict[str, dict[str, float]] = {}
    arms = list(dict.fromkeys(arm for e in content.evaluations for arm in e.scores))
    for arm in arms:
        scores = {e.domain: e.scores[arm] for e in content.evaluations if arm in e.scores}
        if len(scores) < 2:
            continue
        found = calibration(scores)
        gaps[arm] = found.gaps
        told = ", ".join(f"{domain} {gap:.3f}" for domain, gap in found.gaps.items())
        if len(scores) <= MAPPED:
            section.blocks.append(
                Chart(
                    f"calibration-{arm}",
                    charts.reliability(found),
                    f"{arm}: share of held-out pairs by score",
                    f"{arm}: mean gap of each domain to all together: {told}.",
                )
            )
    if gaps:
        names = list(dict.fromkeys(domain for found in gaps.values() for domain in found))
        section.blocks.append(
            Table(
                "Gap of each domain to all together",
                ["domain", *gaps],
                [
                    [name, *(f"{f[name]:.3f}" if name in f else "-" for f in gaps.values())]
                    for name in names
                ],
                "Mean absolute difference of the shares, weighed by the domain's pairs: 0 is "
                "calibrated, 0.5 the most there can be.",
            )
        )
    return section.or_missing(
        "Fewer than two evaluations here recorded scores. Evaluate again: "
        "lorarec evaluate --all-domains"
    )
