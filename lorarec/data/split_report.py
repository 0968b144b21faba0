"""What the parts of a split hold, over all domains and in each, for logs and for data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import polars as pl

from lorarec.data.draw import codes
from lorarec.data.folds import rolling_folds
from lorarec.data.part_counts import PartCounts, in_order
from lorarec.data.prepared.counting import Part, by_part
from lorarec.data.prepared.cutting import noted, planned
from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.data.prepared.pieces import COLUMNS, Assigned, pieces
from lorarec.data.prepared.refining import count_refined, final_lots
from lorarec.data.splits import SplitRecord, split_logs
from lorarec.data.timeline import check_complete, check_cutoffs
from lorarec.errors import DataError

HELD_OUT = ("valid", "test")


@dataclass(frozen=True)
class Sides:
    """What lies on each side of a split, in some rows. Cold is what has no train row among them."""

    parts: dict[str, PartCounts]
    """By part, train, valid and test first."""
    train_only_users: int
    """Users with train rows and none in valid or test."""
    train_only_items: int
    """Items with train rows and none in valid or test."""


@dataclass(frozen=True)
class SplitReport:
    """One split of all rows."""

    record: SplitRecord
    """With the counts of all domains together."""
    whole: Sides
    """All domains together."""
    domains: dict[str, Sides] = field(default_factory=dict)
    """Each domain by itself, by name: an id that others know is cold where it has no train row."""


@dataclass(frozen=True)
class Numbered:
    """Logs as numbers, domain after domain.

    Attributes:
        pieces: Frames with `user`, `item`, `domain`, `timestamp`, and `split` for a split that is
            not by time.
        users: How many there are.
        items: How many there are.
        domains: Their names.
    """

    pieces: Iterable[pl.DataFrame]
    users: int
    items: int
    domains: Sequence[str]


def report_logs(
    frame: pl.DataFrame, plan: SplitRecord, by_domain: bool = False
) -> list[SplitReport]:
    """Split logs and count both sides.

    Args:
        frame: Canonical logs.
        plan: How: `how`, `seed` and the shares, or the cut-offs.
        by_domain: Whether each domain is counted too.

    Raises:
        DataError: As `split_logs`.
    """
    split, record = split_logs(
        frame,
        plan.how,
        valid_share=plan.valid_share,
        test_share=plan.test_share,
        seed=plan.seed,
        duplicates=plan.duplicates,
        min_user_rows=plan.min_user_rows,
        min_item_rows=plan.min_item_rows,
        cutoffs=plan.cutoffs or None,
    )
    return _counted(_numbered(split), [record], by_domain)


def report_folds(
    frame: pl.DataFrame, folds: int, window: int, by_domain: bool = False
) -> list[SplitReport]:
    """Count every fold of a back-test on logs, oldest first.

    Args:
        frame: Canonical logs.
        folds: How many.
        window: Seconds of a validation and of a test.
        by_domain: Whether each domain is counted too.

    Raises:
        DataError: Rows lack a timestamp, or there is not time enough.
    """
    return _counted(_numbered(frame), _folds(frame.lazy(), folds, window), by_domain)


def report_dataset(
    dataset: PreparedDataset, plan: SplitRecord | None = None, by_domain: bool = False
) -> list[SplitReport]:
    """Count both sides of a data set's own split or of another one, on numbers alone.

    Args:
        dataset: Opened.
        plan: How it would be split; None takes its own split, which it has.
        by_domain: Whether each domain is counted too.

    Raises:
        DataError: As `split_logs`.
    """
    folder, files = dataset.folder, dataset.manifest.all_files
    record, fallen = dataset.split, None
    if plan is not None:
        if plan.cutoffs:
            check_cutoffs(*_span(dataset.scan()), plan.cutoffs)
        record = plan if plan.cutoffs else planned(folder, files, plan)
        if record.refines:
            record, fallen = count_refined(folder, files, dataset.sizes(), record)
    elif record is not None and record.has_core:
        fallen = dataset.fallen(record)
    if record is None:
        raise DataError(
            f"{folder} has no split of its own. Expected to be told one, such as --split time."
        )
    rows: Iterable[pl.DataFrame]
    given = record
    if record.refines:
        rows = (lot for lot, *_ in final_lots(folder, files, record, fallen, whole=True))
        given = record.model_copy(update={"used": "column"})  # it stands in the lots
    elif record.by_histories:
        rows = Assigned(folder, files, record)
    else:
        columns = (*COLUMNS, "split") if record.used == "column" else COLUMNS
        rows = pieces(folder, files, columns)
    (found,) = _counted(_of(dataset, rows), [given], by_domain)
    record = record.model_copy(update={"counts": found.whole.parts})
    return [replace(found, record=record if plan is None else noted(folder, files, record))]


def report_dataset_folds(
    dataset: PreparedDataset, folds: int, window: int, by_domain: bool = False
) -> list[SplitReport]:
    """`report_folds` of a data set, on numbers alone."""
    records = _folds(dataset.scan(), folds, window)
    rows = pieces(dataset.folder, dataset.manifest.all_files)
    return _counted(_of(dataset, rows), records, by_domain)


def _folds(rows: pl.LazyFrame, folds: int, window: int) -> list[SplitRecord]:
    return rolling_folds(*_span(rows), folds, window)


def _span(rows: pl.LazyFrame) -> tuple[int, int]:
    """The seconds of the first and of the last row; every row has one."""
    time = pl.col("timestamp")
    found = rows.select(
        time.min(), time.max().alias("last"), time.null_count().alias("missing"), rows=pl.len()
    )
    first, last, missing, count = found.collect().row(0)
    check_complete(missing, count)
    return first, last


def _numbered(frame: pl.DataFrame) -> Numbered:
    user, users = codes(frame["user_id"])
    item, items = codes(frame["item_id"])
    domain, domains = codes(frame["domain"])
    numbers = pl.DataFrame({"user": user, "item": item, "domain": domain})
    rows = numbers.with_columns(frame["timestamp"], frame["split"])
    each = (rows.filter(pl.col("domain") == place) for place in range(len(domains)))
    return Numbered(each, len(users), len(items), domains.to_list())


def _of(dataset: PreparedDataset, rows: Iterable[pl.DataFrame]) -> Numbered:
    sizes = dataset.sizes()
    return Numbered(rows, sizes["users"], sizes["items"], dataset.domains.series.to_list())


def _counted(logs: Numbered, records: Sequence[SplitRecord], by_domain: bool) -> list[SplitReport]:
    """Count the sides of several splits in one pass; only those by time can be several."""
    # What is not by time stands in the column `split` of the pieces.
    given = [r if r.used == "time" else r.model_copy(update={"used": "column"}) for r in records]
    whole = [_Sides(logs) for _ in records]
    domains: list[dict[str, Sides]] = [{} for _ in records]
    for place, rows in groupby(_by_domain(logs.pieces), key=lambda piece: piece["domain"][0]):
        own = [_Sides(logs) for _ in records]
        for piece in rows:
            for n, record in enumerate(given):
                for name, part in by_part(piece, record):
                    whole[n].add(name, part)
                    if by_domain:
                        own[n].add(name, part)
        if by_domain:
            for n, sides in enumerate(own):
                domains[n][logs.domains[place]] = sides.found()
    reports = []
    for record, sides, each in zip(records, whole, domains, strict=True):
        found = sides.found()
        with_counts = record.model_copy(update={"counts": found.parts})
        reports.append(SplitReport(with_counts, found, dict(sorted(each.items()))))
    return reports


def _by_domain(rows: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for piece in rows:
        yield from piece.partition_by("domain", maintain_order=True)


class _Sides:
    """Counts parts while rows stream by."""

    def __init__(self, logs: Numbered) -> None:
        self._logs = logs
        self._parts: dict[str, Part] = {}

    def add(self, name: str, rows: pl.DataFrame) -> None:
        if name not in self._parts:
            self._parts[name] = self._empty()
        self._parts[name].add(rows)

    def found(self) -> Sides:
        train = self._parts.get("train", self._empty())
        held_out = self._empty()
        for name in HELD_OUT:
            if name in self._parts:
                for kind, seen in held_out.seen.items():
                    seen |= self._parts[name].seen[kind]
        only = train.counts(held_out)
        parts = {name: part.counts(train) for name, part in self._parts.items()}
        return Sides(in_order(parts), only.cold_users, only.cold_items)

    def _empty(self) -> Part:
        return Part(self._logs.users, self._logs.items)
