"""Checking a table against the column contract: what is wrong, in how many rows, and which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lorarec.data.schema import (
    COLUMNS,
    REQUIRED,
    accepted,
    describe_missing,
    is_accepted,
    missing_columns,
    own_names,
    parsed,
)
from lorarec.errors import DataError

_SAMPLE = 5
# A timestamp in seconds reaches 1e11 in the year 5138; one in milliseconds passed it in 1973.
_UNITS = (("milliseconds", 1e11, 1e14, "1,000"), ("microseconds", 1e14, 1e17, "1,000,000"))
_NANOSECONDS = ("nanoseconds", 1e17, float("inf"), "1,000,000,000")


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
    violations = find_violations(frame, columns, where)
    if violations:
        return CheckReport(rows=frame.height, violations=tuple(violations))
    own = own_names(columns or {})
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


def find_violations(
    frame: pl.DataFrame, columns: Mapping[str, str] | None = None, where: str = ""
) -> list[Violation]:
    """Every broken rule of a table; see `check_frame` for the arguments."""
    columns = columns or {}
    own = own_names(columns)
    violations = [
        _of_column(frame, name, describe_missing(name, frame.columns, columns), where)
        for name in missing_columns(frame.columns, columns)
    ]
    rules: list[tuple[str, str, str, pl.Expr]] = []
    for name in COLUMNS:
        if own[name] not in frame.columns:
            continue
        dtype = frame.schema[own[name]]
        if is_accepted(name, dtype):
            rules += _rules(name, own[name], dtype)
        else:
            found = f"Column {own[name]!r} is {dtype}."
            rule = Violation(f"wrong type of {name}", frame.height, found, accepted(name))
            violations.append(_with_sample(rule, frame, own, where))
    return violations + _broken(frame, rules, own, where)


def _rules(name: str, own: str, dtype: pl.DataType) -> list[tuple[str, str, str, pl.Expr]]:
    """(column, rule, expected, mask) of one contract column; masks are never null."""
    raw, value = pl.col(own), parsed(name, dtype, own)
    if name in REQUIRED:
        text = value.str.strip_chars()
        return [
            (
                name,
                f"null or empty {name}",
                f"{accepted(name)} in each row",
                raw.is_null() | (text == "").fill_null(False),
            )
        ]
    if name == "split":
        return []
    rules = [(name, f"unreadable {name}", accepted(name), _given(raw, dtype) & value.is_null())]
    if name == "timestamp":
        seconds = "seconds since 1970 (UTC)"
        rules.append((name, "negative timestamp", f"{seconds}, 0 or above", value < 0))
        for unit, low, high, divisor in (*_UNITS, _NANOSECONDS):
            rules.append(
                (
                    name,
                    f"timestamp in {unit}",
                    f"{seconds}: divide by {divisor}",
                    (value > low) & (value <= high),
                )
            )
    else:
        rules.append((name, f"{name} that is not finite", "a finite number", ~value.is_finite()))
        rules.append((name, f"negative {name}", "0 or above", value.is_finite() & (value < 0)))
    return [
        (column, rule, expected, mask.fill_null(False)) for column, rule, expected, mask in rules
    ]


def _given(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return raw.is_not_null() & (raw.str.strip_chars() != "")
    return raw.is_not_null()


def _broken(
    frame: pl.DataFrame,
    rules: list[tuple[str, str, str, pl.Expr]],
    own: Mapping[str, str],
    where: str,
) -> list[Violation]:
    if not rules or not frame.height:
        return []
    counts = frame.select(mask.sum().alias(str(i)) for i, (*_, mask) in enumerate(rules)).row(0)
    violations = []
    for count, (column, rule, expected, mask) in zip(counts, rules, strict=True):
        if count:
            rows = frame.with_row_index("row", offset=1).filter(mask).head(_SAMPLE)
            values = ", ".join("null" if v is None else repr(v) for v in rows[own[column]])
            found = f"Column {own[column]!r} holds {values}{', ...' if count > _SAMPLE else ''}."
            violation = Violation(rule, int(count), found, expected)
            violations.append(_with_sample(violation, rows, own, where))
    return violations


def _of_column(frame: pl.DataFrame, name: str, found: str, where: str) -> Violation:
    rule = Violation(f"missing column {name}", frame.height, found, f"a column {name}")
    return _with_sample(rule, frame, {}, where)


def _with_sample(
    violation: Violation, rows: pl.DataFrame, own: Mapping[str, str], where: str
) -> Violation:
    if "row" not in rows.columns:
        rows = rows.with_row_index("row", offset=1)
    names = {o: c for c, o in own.items() if o in rows.columns}
    shown = rows.head(_SAMPLE).select("row", *names).rename(names) if names else rows.head(_SAMPLE)
    return Violation(
        violation.rule,
        violation.count,
        violation.found,
        violation.expected,
        shown.to_dicts(),
        where,
    )
