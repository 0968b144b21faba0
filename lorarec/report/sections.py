"""The page's sections, from its content: what is shown, in which order, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lorarec.report import charts
from lorarec.report.blocks import Cell, Chart, Columns, Section, Table, Text
from lorarec.report.charts import PARTS, shown
from lorarec.report.comparison import NONE_EVALUATED, compared, slug
from lorarec.report.content import Content, Evaluation
from lorarec.report.domains import calibrated, mapped

DRAWN = 6
"""Domains that get pictures of their own; tables have all."""


def sections(content: Content) -> list[Section]:
    """All sections of the page; none is left out for want of data."""
    return [
        _what(content),
        *compared(content, DRAWN),
        _rank_and_size(content),
        _slices(content),
        _training(content),
        _gains(content),
        mapped(content),
        calibrated(content),
        _lists(content),
    ]


def _what(content: Content) -> Section:
    section = Section("what", "What was compared", "On which data, from which runs.")
    section.blocks.append(
        Table(
            "The base and its data", ["", "value"], [[name, value] for name, value in content.facts]
        )
    )
    if content.logs is None:
        section.blocks.append(
            Text(content.missing.get("logs", "The logs were not read."), "missing")
        )
    else:
        everything = [*content.logs.domains, content.logs.total]
        section.blocks.append(
            Table(
                "The logs, all parts of the split",
                ["domain", "rows", "users", "items", "density"],
                [
                    [d.domain, f"{d.rows:,}", f"{d.users:,}", f"{d.items:,}", f"{d.density:.2%}"]
                    for d in everything
                ],
            )
        )
    if content.evaluations:
        section.blocks.append(
            Table(
                "Who was evaluated",
                ["domain", "part", "users", "new users", "held-out items", "outside catalogue",
                 "drift", "run"],
                [_counted(evaluation) for evaluation in content.evaluations],
                "Drift: Jensen-Shannon divergence of items from train, in bits; behind it what "
                "chance alone makes. Items outside the catalogue are misses for every arm.",
            )
        )  # fmt: skip
    return section.or_missing(NONE_EVALUATED)


def _counted(evaluation: Evaluation) -> list[Cell | str]:
    counts = next(iter(evaluation.arms.values()))["counts"]
    drift = evaluation.drift
    return [
        evaluation.domain,
        evaluation.part,
        f"{counts['users']:,}",
        _number(counts["cold_users"]),
        f"{counts['held_out_items']:,}",
        _number(counts["outside_catalogue"]),
        Cell(f"{drift['items']:.3f}", f"chance {drift['items_by_chance']:.3f}") if drift else "-",
        evaluation.run.removeprefix("runs:/")[:8],
    ]


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _rank_and_size(content: Content) -> Section:
    from lorarec.evaluation.rank_curve import figure_of

    section = Section(
        "rank-and-size", "Recall against rank and size",
        "What a larger adapter buys. Ranks are compared on validation users; bars are one standard "
        "error of the gap to the best rank, and the ring is the smallest rank within one of it.",
    )  # fmt: skip
    for curve in content.curves[:DRAWN]:
        best = curve.points[curve.best].mean
        section.blocks.append(
            Chart(
                f"rank-{slug(curve.domain, content)}",
                figure_of(curve, width=charts.WIDTH, height=charts.HEIGHT + 0.4),
                f"{curve.domain}: validation recall@20 by rank",
                f"{curve.domain}: validation recall at 20 by rank. Best is rank {curve.best} with "
                f"{best:.4f}, chosen rank {curve.chosen} with "
                f"{curve.points[curve.chosen].mean:.4f}; the frozen base has {curve.base:.4f}.",
            )
        )
    if not content.curves:
        section.blocks.append(
            Text(
                "No run tried several ranks on this base. Make one: "
                "lorarec adapt --domain D --rank auto, or --rank 2,4,8.",
                "missing",
            )
        )
    key = f"recall_at_{content.k}"
    for evaluation in content.evaluations[:DRAWN]:
        told = ", ".join(
            f"{arm} {result['metrics'][key]['mean']:.4f} with {result['parameters']:,} numbers"
            for arm, result in evaluation.arms.items()
            if result["parameters"] is not None
        )
        if told:
            section.blocks.append(
                Chart(
                    f"size-{slug(evaluation.domain, content)}",
                    charts.by_size(evaluation, key),
                    f"{evaluation.domain}: {shown(key)} on {evaluation.part} by trained numbers",
                    f"{evaluation.domain}: {told}.",
                )
            )
    if content.costs:
        section.blocks.append(
            Table(
                "Adapters of this base",
                ["domain", "rank", "numbers", "of full fine-tuning", "KiB on disk",
                 "validation recall@20", "run"],
                [
                    [
                        c.domain, c.rank, f"{c.parameters:,}",
                        f"{c.parameters / c.full:.1%}" if c.full else "-",
                        f"{c.stored / 1024:,.0f}",
                        "-" if c.recall is None else f"{c.recall:.4f}",
                        c.run.removeprefix("runs:/")[:8],
                    ]
                    for c in content.costs
                ],
                "Of full fine-tuning: the numbers of this adapter ÷ those of training the same "
                "rows whole; grown rows are in both.",
            )
        )  # fmt: skip
    else:
        section.blocks.append(
            Text("No adapter of this base was found, so there is no size to show.", "missing")
        )
    return section


def _slices(content: Content) -> Section:
    section = Section(
        "slices", "Slices",
        "Users by what training knew of them, items by popularity: head, mid and tail hold a third "
        "of the train rows each. Of items, recall counts the held-out items of the slice alone.",
    )  # fmt: skip
    key = f"recall_at_{content.k}"
    for place, evaluation in enumerate(content.evaluations):
        arms = [arm for arm, r in evaluation.arms.items() if r.get("segments")]
        names = [n for n in PARTS if any(n in evaluation.arms[a]["segments"] for a in arms)]
        if not names:
            continue
        pair = [arm for arm in ("base", "lora") if arm in arms] or arms[:2]
        rows = [[PARTS[name], *_sliced(evaluation, arms, name, key)] for name in names]
        if place < DRAWN:
            section.blocks.append(
                Chart(
                    f"slices-{slug(evaluation.domain, content)}",
                    charts.slices(evaluation, key, pair),
                    f"{evaluation.domain}: {shown(key)} by slice, with intervals",
                    f"{evaluation.domain}: the numbers are in the table {evaluation.domain}, "
                    f"slices.",
                )
            )
        section.blocks.append(
            Table(f"{evaluation.domain}, slices: {shown(key)}", ["slice", "users", *arms], rows)
        )
    return section.pictures_first().or_missing("No evaluation here recorded slices.")


def _sliced(
    evaluation: Evaluation, arms: Sequence[str], name: str, key: str
) -> Iterator[Cell | str]:
    cells = [evaluation.arms[arm]["segments"].get(name, {}).get(key) for arm in arms]
    yield next((f"{cell['n']:,}" for cell in cells if cell), "-")
    for cell in cells:
        yield (
            Cell(f"{cell['mean']:.4f}", f"[{cell['low']:.3f}, {cell['high']:.3f}]") if cell else "-"
        )


def _training(content: Content) -> Section:
    section = Section(
        "training", "Training",
        "Loss of the train rows and validation recall by epoch; a ring is the epoch that was kept.",
    )  # fmt: skip
    groups = {
        "base": [t for t in content.trainings if t.name == "base"],
        "adapters": [t for t in content.trainings if t.name != "base"],
    }
    for group, trainings in groups.items():
        drawn = trainings[:DRAWN]
        for which, told in (("loss", "training loss"), ("recall", "validation recall@20")):
            have = [t for t in drawn if getattr(t, which)]
            if not have:
                continue
            ends = "; ".join(
                f"{t.name} from {getattr(t, which)[0][1]:.4f} to {getattr(t, which)[-1][1]:.4f}"
                for t in have
            )
            section.blocks.append(
                Chart(
                    f"{which}-{group}", charts.curve(have, which),
                    f"{group}: {told} by epoch", f"{group}, {told} by epoch: {ends}.",
                )
            )  # fmt: skip
    if not groups["adapters"]:
        section.blocks.append(Text("No adapter's training is recorded here.", "missing"))
    if not groups["base"]:
        section.blocks.append(Text("The base's training is not recorded here.", "missing"))
    return section


def _gains(content: Content) -> Section:
    section = Section(
        "gains", "Who gains and who loses",
        "Each user's recall minus that of the frozen base. A mean hides that some lose.",
    )  # fmt: skip
    key = f"recall_at_{content.k}"
    rows: list[Sequence[Cell | str]] = []
    for place, evaluation in enumerate(content.evaluations):
        for arm, by_metric in evaluation.gains.items():
            if key not in by_metric:
                continue
            values = by_metric[key]
            up, down = int((values > 0).sum()), int((values < 0).sum())
            same = len(values) - up - down
            rows.append(
                [
                    evaluation.domain, arm, f"{up:,} ({up / len(values):.0%})",
                    f"{same:,}", f"{down:,} ({down / len(values):.0%})",
                    f"{np.mean(values):+.4f}",
                ]
            )  # fmt: skip
            if place < DRAWN and arm == "lora":
                section.blocks.append(
                    Chart(
                        f"gains-{slug(evaluation.domain, content)}",
                        charts.gains({evaluation.domain: values}, key),
                        f"{evaluation.domain}: lora minus base; {same:,} users are level and not "
                        f"drawn",
                        f"{evaluation.domain}: {up} users gain, {down} lose, {same} are level.",
                    )
                )
    if rows:
        section.blocks.append(
            Table(
                f"Users by {shown(key)} beside the frozen base",
                ["domain", "arm", "gain", "level", "lose", "mean"], rows,
            )
        )  # fmt: skip
    return section.or_missing("No evaluation here has the arm base and per-user values.")


def _lists(content: Content) -> Section:
    section = Section(
        "lists", "A few users, before and after",
        f"The first {content.k} items of the frozen base and of the adapter, without what the user "
        f"had already had. A tick marks an item that the user then took. Users are chosen by rule, "
        f"as said.",
    )  # fmt: skip
    for listed in content.lists:
        had = ", ".join(listed.had) or "nothing"
        section.blocks.append(
            Columns(
                f"{listed.domain}: {listed.user}",
                f"{listed.why}. Had, newest first: {had}. Held out: {', '.join(listed.held_out)}.",
                (
                    ("Frozen base", listed.before),
                    ("Adapter", listed.after),
                ),
            )
        )
    if content.lists and "lists" in content.missing:
        section.blocks.append(Text(content.missing["lists"], "missing"))
    return section.or_missing(
        content.missing.get("lists", "No domain here has an adapter and an evaluation.")
    )
