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
_MARKS = {"better": "good", "worse": "bad", "level": ""}


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
    return [arms.pictures_first().or_missing(NONE_EVALUATED), by_cut.or_missing(NONE_EVALUATED)]


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
    rows: list[list[Cell | str]] = []
    for arm, result in evaluation.arms.items():
        recall, ndcg = (result["metrics"][key] for key in keys)
        found = evaluation.minus_base.get(arm, {}).get(keys[0])
        coverage = result["coverage"].get(f"catalogue_coverage_at_{content.k}")
        rows.append(
            [
                arm,
                _ends(recall),
                _difference(found) if found else "-",
                f"{found['p_value']:.3f}" if found else "-",
                _ends(ndcg),
                "-" if result["parameters"] is None else f"{result['parameters']:,}",
                "-" if coverage is None else f"{coverage:.0%}",
            ]
        )
    return Table(
        f"{evaluation.domain}, {evaluation.part}",
        ["arm", shown(keys[0]), "minus base", "p", shown(keys[1]), "trained numbers", "coverage"],
        rows,
        f"Minus base: of {shown(keys[0])}; p of the paired bootstrap, of this domain alone. "
        f"Coverage: share of the catalogue that was recommended to anybody within {content.k}.",
    )


def _ends(found: Mapping[str, float]) -> Cell:
    return Cell(f"{found['mean']:.4f}", f"[{found['low']:.4f}, {found['high']:.4f}]")


def _difference(found: Mapping[str, float]) -> Cell:
    low, high = found["low"], found["high"]
    mark = "good" if low > 0 else "bad" if high < 0 else ""
    return Cell(f"{found['mean']:+.4f}", f"[{low:+.4f}, {high:+.4f}]", mark)


def _over_domains(content: Content, key: str) -> Table:
    found = {(row["domain"], row["arm"]): row for row in content.holm if row["metric"] == key}
    domains, arms = (list(dict.fromkeys(pair[at] for pair in found)) for at in (0, 1))
    rows: list[list[Cell | str]] = []
    for domain in domains:
        row: list[Cell | str] = [domain]
        for arm in arms:
            one = found.get((domain, arm))
            if one is None:
                row.append("-")
                continue
            verdict, mark = one["verdict"], _MARKS[one["verdict"]]
            text = f"{one['interval']['mean']:+.4f} {verdict}"
            row.append(
                Cell(text, f"{_difference(one['interval']).small} p {one['adjusted']:.3f}", mark)
            )
        rows.append(row)
    return Table(
        f"All domains: {shown(key)} minus the frozen base",
        ["domain", *arms],
        rows,
        "Brackets and p are corrected over domains by Holm's procedure; level: no difference "
        "beyond chance; worse: negative transfer.",
    )
