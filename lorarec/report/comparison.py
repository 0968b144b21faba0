"""The sections that compare arms: the table with intervals, and recall against k."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorarec.report import charts
from lorarec.report.blocks import Cell, Chart, Section, Table
from lorarec.report.charts import shown
from lorarec.report.content import Content, Evaluation

NONE_EVALUATED = (
    "No evaluation was found on this base. Make one: lorarec evaluate --domain D, or --all-domains."
)
_VERDICTS = {"better": ("better", "good"), "worse": ("worse", "bad"), "level": ("", "")}


def slug(domain: str, content: Content) -> str:
    """A name for a domain in ids and files: its place, and what of it is plain ASCII."""
    place = [evaluation.domain for evaluation in content.evaluations]
    at = place.index(domain) if domain in place else len(place)
    return f"{at}-{re.sub(r'[^a-z0-9]+', '-', domain.lower()).strip('-')[:24] or 'domain'}"


def compared(content: Content, drawn: int) -> list[Section]:
    """The sections `arms` and `recall-at-k`.

    Args:
        content: Of the report.
        drawn: Domains that get pictures.
    """
    key = f"recall_at_{content.k}"
    arms = Section(
        "arms", "The arms",
        "Every arm ranks the domain's whole catalogue without what the user has had, for "
        "the same users. Recall is hits ÷ held-out items; brackets are bootstrap intervals over "
        "users; minus base is paired by user.",
    )  # fmt: skip
    for place, evaluation in enumerate(content.evaluations):
        if place < drawn and evaluation.minus_base:
            arms.blocks.append(_forest(evaluation, key, content))
        arms.blocks.append(_table(evaluation, content))
    if content.holm:
        arms.blocks.append(_over_domains(content, key))
    by_cut = Section("recall-at-k", "Recall against k", "How far down the list the difference is.")
    for evaluation in content.evaluations[:drawn]:
        told = "; ".join(
            f"{arm} " + ", ".join(
                f"{result['metrics'][f'recall_at_{k}']['mean']:.4f} at {k}" for k in evaluation.cuts
            )
            for arm, result in evaluation.arms.items()
        )  # fmt: skip
        by_cut.blocks.append(
            Chart(
                f"recall-{slug(evaluation.domain, content)}",
                charts.by_cut(evaluation),
                f"{evaluation.domain}: recall@k on {evaluation.part}; bands are intervals",
                f"{evaluation.domain}: recall by k. {told}.",
            )
        )
    return [arms.or_missing(NONE_EVALUATED), by_cut.or_missing(NONE_EVALUATED)]


def _forest(evaluation: Evaluation, key: str, content: Content) -> Chart:
    told = "; ".join(
        f"{arm} {found[key]['mean']:+.4f} "
        f"from {found[key]['low']:+.4f} to {found[key]['high']:+.4f}"
        for arm, found in evaluation.minus_base.items()
        if key in found
    )
    return Chart(
        f"difference-{slug(evaluation.domain, content)}",
        charts.differences(evaluation, key),
        f"{evaluation.domain}: {shown(key)} minus the frozen base, with intervals",
        f"{evaluation.domain}: {shown(key)} minus the frozen base. {told}.",
    )


def _table(evaluation: Evaluation, content: Content) -> Table:
    keys = [f"recall_at_{content.k}", f"ndcg_at_{content.k}"]
    rows = []
    for arm, result in evaluation.arms.items():
        cells = [result["metrics"][key] for key in keys]
        found = evaluation.minus_base.get(arm, {}).get(keys[0])
        coverage = result["coverage"].get(f"catalogue_coverage_at_{content.k}")
        row: list[Cell | str] = [arm]
        row += [Cell(f"{c['mean']:.4f}", f"[{c['low']:.4f}, {c['high']:.4f}]") for c in cells]
        row.append(_difference(found) if found else Cell("-"))
        row.append(f"{result['parameters']:,}" if result["parameters"] is not None else "-")
        row.append(f"{coverage:.0%}" if coverage is not None else "-")
        rows.append(row)
    return Table(
        f"{evaluation.domain}, {evaluation.part}",
        ["arm", *map(shown, keys), f"{shown(keys[0])} minus base", "trained numbers", "coverage"],
        rows,
        "p of the paired bootstrap, of this domain alone. Coverage: share of the catalogue that "
        f"was recommended to anybody within {content.k}.",
    )


def _difference(found: Mapping[str, float]) -> Cell:
    low, high = found["low"], found["high"]
    mark = "good" if low > 0 else "bad" if high < 0 else ""
    text = f"{found['mean']:+.4f}"
    small = f"[{low:+.4f}, {high:+.4f}] p {found['p_value']:.3f}"
    return Cell(text, small, mark)


def _over_domains(content: Content, key: str) -> Table:
    rows = []
    for row in content.holm:
        if row["metric"] != key:
            continue
        ends = row["interval"]
        verdict, mark = _VERDICTS[row["verdict"]]
        rows.append(
            [
                row["domain"], row["arm"],
                Cell(f"{ends['mean']:+.4f}", f"[{ends['low']:+.4f}, {ends['high']:+.4f}]"),
                f"{row['adjusted']:.3f}",
                Cell(verdict or "level", mark=mark),
            ]
        )  # fmt: skip
    return Table(
        f"All domains: {shown(key)} minus the frozen base",
        ["domain", "arm", "difference", "p (Holm)", "verdict"],
        rows,
        "Brackets and p are corrected over domains by Holm's procedure; worse is negative "
        "transfer.",
    )
