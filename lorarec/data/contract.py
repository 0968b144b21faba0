"""Checking a table against the column contract: what is wrong, in how many rows, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from lorarec.data.rules import Rule, rules_of
from lorarec.data.schema import (
    COLUMNS,
    EVENT,
    REQUIRED,
    accepted,
    describe_missing,
    in_calendar,
    is_accepted,
    missing_columns,
    own_names,
)
from lorarec.errors import DataError

_SAMPLE = 5


@dataclass(frozen=True)
class Violation:
    """One rule of the contract that a table breaks."""

    rule: str
    """Short name with the column, such as `negative weight`."""
    count: int
    """Rows that break it."""
    found: str
    """What is there, with the first five offending values."""
    expected: str
    """What the contract asks for."""
    sample: list[dict[str, Any]] = field(default_factory=list)
    """Up to five offending rows; `row` counts from 1 in the file."""
    where: str = ""
    """The file, when there are several."""

    def sentence(self) -> str:
        """Rule, count, found and expected in one line."""
        place = f"{self.where}: " if self.where else ""
        rows = "row" if self.count == 1 else "rows"
        return (
            f"{place}{self.rule} in {self.count:,} {rows}: {self.found} Expected {self.expected}."
        )


@dataclass(frozen=True)
class CheckReport:
    """What a check of one or more tables found. Repeats and other split names are legal."""

    rows: int
    violations: tuple[Violation, ...] = ()
    repeated_pairs: int = 0
    """Rows beyond the first of their (user, item, domain)."""
    other_splits: Mapping[str, int] = field(default_factory=dict)
    """Rows by split value other than train, valid, test: kept out of training."""

    @property
    def ok(self) -> bool:
        """Whether the contract holds."""
        return not self.violations

    def message(self) -> str:
        """All violations and the next command, as sentences; empty when the contract holds."""
        if self.ok:
            return ""
        lines = [violation.sentence() for violation in self.violations]
        lines.append("Run `lorarec data check PATH` on the same files to see five rows of each.")
        return "\n".join(lines)


class ContractError(DataError):
    """The logs break the column contract; `report` says where."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(report.message())
        self.report = report


class Checker:
    """Checks raw tables, whole or batch by batch, and keeps count of what is broken.

    Args:
        columns: Contract name → the tables' own name, only where they differ.
        events: Event type → weight; None or empty where events are not used.

    Raises:
        ConfigError: `columns` has a key that is no contract column.
    """

    def __init__(
        self, columns: Mapping[str, str] | None = None, events: Mapping[str, float] | None = None
    ) -> None:
        self.columns, self.events = dict(columns or {}), dict(events or {})
        self.own = own_names(self.columns)
        self.rows = 0
        self.broken_rows = 0
        self.unusable = False
        """Whether a table lacks a column or has one of a wrong type: no row of it can be used."""
        self._found: dict[tuple[str, str], Violation] = {}

    def check(self, frame: pl.DataFrame, where: str = "", offset: int = 0) -> pl.Series | None:
        """Check a table, or the next batch of one.

        Args:
            frame: Rows with the table's own names and types.
            where: Its name for the violations, such as its path.
            offset: Rows of the same table that came before.

        Returns:
            String (n,): the first rule that a row breaks, null for a good row; None where every
            row is good.
        """
        self.rows += frame.height
        if whole := self._of_table(frame, where):
            self.unusable = True
            self.broken_rows += frame.height
            for violation in whole:
                self._note(violation)
            return pl.Series("reason", [whole[0].rule], dtype=pl.String).new_from_index(
                0, frame.height
            )
        rules = rules_of(frame.schema, self.own, self.events)
        quick = [r.broken if r.suspect is None else r.suspect for r in rules]
        rules = [rule for rule, count in zip(rules, _counts(frame, quick), strict=True) if count]
        counts = _counts(frame, [r.broken for r in rules])
        broken = [(rule, count) for rule, count in zip(rules, counts, strict=True) if count]
        for rule, count in broken:
            self._note(self._violation(rule, count, frame, where, offset))
        if not broken:
            return None
        reason = pl.coalesce(pl.when(r.broken).then(pl.lit(r.name)) for r, _ in broken)
        reasons = frame.select(reason.alias("reason"))["reason"]
        self.broken_rows += frame.height - reasons.null_count()
        return reasons

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was found so far, in the order of tables."""
        return tuple(self._found.values())

    def take_in(self, other: Checker) -> None:
        """Add what another has found in the tables that come next."""
        self.rows += other.rows
        self.broken_rows += other.broken_rows
        self.unusable |= other.unusable
        for violation in other.violations:
            self._note(violation)

    def report(self) -> CheckReport:
        """What was found so far, without counts of what is legal."""
        return CheckReport(rows=self.rows, violations=self.violations)

    def _of_table(self, frame: pl.DataFrame, where: str) -> list[Violation]:
        """What is wrong with a table whatever its rows hold."""
        absent = missing_columns(frame.columns, self.columns, bool(self.events))
        found = []
        for name in absent:
            sentence = describe_missing(name, frame.columns, self.columns)
            rule = Violation(f"missing column {name}", frame.height, sentence, f"a column {name}")
            found.append(_with_sample(rule, frame, {}, where, 0))
        for name in (*COLUMNS, *([EVENT] if self.events else [])):
            dtype = frame.schema.get(self.own[name])
            if dtype is not None and not is_accepted(name, dtype):
                sentence = f"Column {self.own[name]!r} is {dtype}."
                rule = Violation(f"wrong type of {name}", frame.height, sentence, accepted(name))
                found.append(_with_sample(rule, frame, self.own, where, 0))
        return found

    def _violation(
        self, rule: Rule, count: int, frame: pl.DataFrame, where: str, offset: int
    ) -> Violation:
        rows = frame.with_row_index("row", offset=offset + 1).filter(rule.broken).head(_SAMPLE)
        rows = in_calendar(rows)
        values = ", ".join("null" if v is None else repr(v) for v in rows[rule.column])
        found = f"Column {rule.column!r} holds {values}{', ...' if count > _SAMPLE else ''}."
        violation = Violation(rule.name, int(count), found, rule.expected)
        return _with_sample(violation, rows, self.own, where, offset)

    def _note(self, violation: Violation) -> None:
        """Add a batch's violation to the same one of earlier batches, which has the sample."""
        key = (violation.where, violation.rule)
        known = self._found.get(key)
        if known is not None:
            count = known.count + violation.count
            more = ", ..." if known.count <= _SAMPLE < count else ""
            found = f"{known.found.removesuffix('.')}{more}." if more else known.found
            violation = replace(known, count=count, found=found)
        self._found[key] = violation


def check_frame(
    frame: pl.DataFrame, columns: Mapping[str, str] | None = None, where: str = ""
) -> CheckReport:
    """Check a raw or canonical table against the column contract.

    Args:
        frame: A table with the file's own names and types.
        columns: Contract name → the file's name, only where they differ.
        where: A name of the table for the violations, such as its path.

    Returns:
        A report with every rule that is broken; repeats and split names are counted when none is.

    Raises:
        ConfigError: `columns` has a key that is no contract column.
    """
    checker = Checker(columns)
    if checker.check(frame, where) is not None:
        return checker.report()
    own = checker.own
    return CheckReport(
        rows=frame.height,
        repeated_pairs=frame.height - frame.select(own[c] for c in REQUIRED).n_unique(),
        other_splits=other_splits(frame, own["split"]),
    )


def other_splits(frame: pl.DataFrame, column: str = "split") -> dict[str, int]:
    """Rows by split value other than train, valid and test, by name."""
    if column not in frame.columns:
        return {}
    split = frame[column].cast(pl.String).drop_nulls()
    counts = split.filter(~split.is_in(["train", "valid", "test", ""])).value_counts(name="n")
    return dict(sorted(counts.iter_rows()))


def _counts(frame: pl.DataFrame, masks: Sequence[pl.Expr]) -> tuple[int, ...]:
    """Rows where each of some masks holds."""
    return frame.select(m.sum().alias(str(i)) for i, m in enumerate(masks)).row(0) if masks else ()


def _with_sample(
    violation: Violation, rows: pl.DataFrame, own: Mapping[str, str], where: str, offset: int
) -> Violation:
    if "row" not in rows.columns:
        rows = rows.with_row_index("row", offset=offset + 1)
    names = {o: c for c, o in own.items() if o in rows.columns}
    shown = rows.head(_SAMPLE)
    if names:
        shown = in_calendar(shown.select("row", *names)).rename(names)
    return replace(violation, sample=shown.to_dicts(), where=where)
