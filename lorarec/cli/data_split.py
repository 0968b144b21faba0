"""`lorarec data split`: what the parts of a split, or of a back-test's folds, would hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, json_option
from lorarec.errors import ConfigError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.data.part_counts import PartCounts
    from lorarec.data.split_report import Sides, SplitReport

PART_COLUMNS = ("part", "rows", "users", "items", "cold users", "cold items", "first", "last")


@click.command("split", context_settings=CONTEXT)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option(
    "--split", "how", type=click.Choice(["time", "column", "random", "leave-last-out"]),
    help="How train, valid and test are cut.  [default: a data set's own split, or time]",
)  # fmt: skip
@click.option(
    "--folds", type=int, metavar="N", help="Back-tests: N splits by time, a window apart."
)
@click.option(
    "--window", metavar="7d",
    help="Length of a fold's validation and of its test, in h, d or w.",
)  # fmt: skip
@click.option("--by-domain", is_flag=True, help="Count each domain too, cold by itself.")
@json_option
@click.pass_obj
def split_(
    settings: Settings,
    paths: tuple[Path, ...],
    how: str | None,
    folds: int | None,
    window: str | None,
    by_domain: bool,
    as_json: bool,
) -> None:
    """Show what a split of logs, or of a prepared data set, holds on each side.

    Users, items, rows and times (UTC) of train, valid and test, and how many users and items of
    each are cold: without a train row. Nothing is written. With --folds, splits by time that end a
    window apart, the newest where the logs end; what comes after a fold's test is `later`.

    \b
    Example:
      lorarec data split data/sample
      lorarec data split data/prepared --folds 4 --window 7d
      lorarec data split data/sample --split leave-last-out --by-domain
    """
    if (folds is None) != (window is None) or (folds is not None and how not in (None, "time")):
        raise ConfigError(
            "Folds are splits by time and have a length. Expected --folds and --window together, "
            "such as --folds 4 --window 7d, and no other --split than time."
        )
    reports = _reports(settings, paths, how, folds, window, by_domain)
    if as_json:
        found = [_json(report) for report in reports]
        print_json({"folds": found} if folds is not None else found[0])
        return
    for note in reports[0].record.notes:
        say(note)
    if folds is None:
        _print_split(reports[0])
    else:
        _print_folds(reports)
        seconds = ",".join(str(second) for second in reports[-1].record.cutoffs)
        data = " ".join(f"--data {path}" for path in paths)
        say(f"The newest fold as a base: lorarec pretrain {data} --set data.cutoffs={seconds}")


def _reports(
    settings: Settings,
    paths: Sequence[Path],
    how: str | None,
    folds: int | None,
    window: str | None,
    by_domain: bool,
) -> list[SplitReport]:
    from lorarec.data import split_report
    from lorarec.data.folds import window_seconds
    from lorarec.data.source import DataSource
    from lorarec.data.splits import SplitRecord

    length = None if window is None else window_seconds(window)
    source = DataSource.of(paths, settings.data)
    dataset = source.dataset()
    frame = source.read()[0] if dataset is None else None
    if folds is not None and length is not None:
        if dataset is not None:
            return split_report.report_dataset_folds(dataset, folds, length, by_domain)
        assert frame is not None
        return split_report.report_folds(frame, folds, length, by_domain)
    settings = settings.with_options({"data.split": how})
    data = settings.data
    plan = SplitRecord(
        how=data.split,
        used=data.split,
        seed=settings.train.seed,
        valid_share=data.valid_share,
        test_share=data.test_share,
        duplicates=data.duplicates,
        min_user_rows=data.min_user_rows,
        min_item_rows=data.min_item_rows,
    )
    if data.cutoffs is not None:
        plan = plan.cut_at(data.cutoffs)
    if dataset is None:
        assert frame is not None
        return split_report.report_logs(frame, plan, by_domain)
    own = dataset.split is not None and how is None and data.cutoffs is None
    return split_report.report_dataset(dataset, None if own else plan, by_domain)


def _print_split(report: SplitReport) -> None:
    title = f"Split: {report.record.used}{_bounds(report.record.cutoffs)}"
    print_table(PART_COLUMNS, part_rows(report.whole.parts), title=title)
    click.echo(_train_only(report.whole))
    _print_domains(report, "Each domain by itself")


def _print_folds(reports: Sequence[SplitReport]) -> None:
    from lorarec.config.moments import shown_second

    rows = [
        (place, *row)
        for place, report in enumerate(reports)
        for row in part_rows(report.whole.parts)
    ]
    print_table(("fold", *PART_COLUMNS), rows, title=f"{len(reports)} folds, oldest first")
    print_table(
        ("fold", "valid from", "test from", "to before", "users in train alone", "items"),
        [
            (place, *map(shown_second, r.record.cutoffs), r.whole.train_only_users,
             r.whole.train_only_items)
            for place, r in enumerate(reports)
        ],
    )  # fmt: skip
    for place, report in enumerate(reports):
        _print_domains(report, f"Fold {place}, each domain by itself")


def _print_domains(report: SplitReport, title: str) -> None:
    rows = [
        (name, *row) for name, sides in report.domains.items() for row in part_rows(sides.parts)
    ]
    if rows:
        print_table(("domain", *PART_COLUMNS), rows, title=title)


def part_rows(parts: Mapping[str, PartCounts]) -> list[tuple[object, ...]]:
    """What each part holds: a row of `PART_COLUMNS`."""
    from lorarec.config.moments import shown_minute

    return [
        (part, c.rows, c.users, c.items, c.cold_users, c.cold_items, shown_minute(c.first),
         shown_minute(c.last))
        for part, c in parts.items()
    ]  # fmt: skip


def _train_only(sides: Sides) -> str:
    return f"In train alone: {sides.train_only_users:,} users and {sides.train_only_items:,} items."


def _bounds(cutoffs: Sequence[int]) -> str:
    """`, valid from ..., test from ..., to before ...`, as far as there are such seconds."""
    from lorarec.config.moments import shown_second

    words = ("valid from", "test from", "to before")
    return "".join(
        f", {word} {shown_second(second)}" for word, second in zip(words, cutoffs, strict=False)
    )


def _json(report: SplitReport) -> dict[str, Any]:
    found = {"split": report.record.model_dump(), **_sides(report.whole)}
    if report.domains:
        found["domains"] = {name: _sides(sides) for name, sides in report.domains.items()}
    return found


def _sides(sides: Sides) -> dict[str, Any]:
    parts = {name: counts.model_dump() for name, counts in sides.parts.items()}
    return {
        "parts": parts,
        "train_only_users": sides.train_only_users,
        "train_only_items": sides.train_only_items,
    }
