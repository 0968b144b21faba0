"""What commands print: results on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lorarec.cli.wrapping import widths, wrapped

T = TypeVar("T")
WIDTH = 100
SECONDS_BETWEEN_LINES = 10.0
NOTHING = "-"

console = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(text: str) -> None:
    """A sentence for the person at the screen, on stderr."""
    console.print(text)


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN and infinity become null, dates ISO 8601."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, default=_text))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str | None = None,
    whole: Sequence[str] = (),
) -> None:
    """A table on stdout that fits 100 columns; numbers to the right, long text wrapped.

    Text breaks between words and after commas; inside a word only where one is too long for the
    table.

    Args:
        columns: Headings.
        rows: One value for each column; None is a dash, floats get four digits.
        title: A line above it.
        whole: Columns that are never wrapped, such as ids to copy.
    """
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False)
    table.padding = (0, 1, 0, 0)
    out = Console(markup=False, highlight=False, emoji=False)
    out.width = min(out.width, WIDTH) if out.is_terminal else WIDTH
    texts = [
        [name, *(cell(row[position]) for row in rows)] for position, name in enumerate(columns)
    ]
    between = 2 * len(columns) - 1  # the padding of each column and the box's rule between two
    wide = widths(texts, [name in whole for name in columns], out.width - between)
    out.width = max(out.width, sum(wide) + between)
    for position, name in enumerate(columns):
        values = [row[position] for row in rows if row[position] is not None]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(
            Text(wrapped(name, wide[position])),
            justify="right" if numeric else "left",
            width=wide[position],
            no_wrap=True,
        )
    for place in range(1, len(rows) + 1):
        table.add_row(*(Text(wrapped(text[place], w)) for text, w in zip(texts, wide, strict=True)))
    with out.capture() as capture:
        out.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    click.echo("\n".join(line for line in lines if line))


def print_tree(root: T, label: Callable[[T], str], children: Callable[[T], Sequence[T]]) -> None:
    """A tree on stdout that fits 100 columns; long labels are wrapped.

    Args:
        root: What stands at its top.
        label: What a branch says.
        children: What hangs on it.
    """

    def branch(node: T) -> Tree:
        grown = Tree(Text(label(node)))
        grown.children = [branch(child) for child in children(node)]
        return grown

    out = Console(markup=False, highlight=False, emoji=False)
    out.width = min(out.width, WIDTH) if out.is_terminal else WIDTH
    with out.capture() as capture:
        out.print(branch(root))
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def cell(value: object) -> str:
    """A value as a table shows it: a count with thin groups, a float with four digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return _plain(value.item()) if hasattr(value, "item") else str(value)


class Meter(Protocol):
    """Where a long job says how far it is."""

    def update(
        self,
        advance: float = 1,
        *,
        loss: float | None = None,
        rows_per_second: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        """Note progress.

        Args:
            advance: Units done since the last call.
            loss: Of the last steps.
            rows_per_second: Training rows, measured by the job.
            total: Units there are, where that has become known or has changed.
            description: A new name for what is being done.
        """


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Meter]:
    """A bar with loss, rows/s and ETA on stderr; a line every ten seconds where that is a file.

    Args:
        description: What is being done, such as `pretrain`.
        total: Units of work; None where it is not known.
    """
    if not (console.is_terminal and console.is_interactive):
        yield _Lines(description, total)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}", markup=False),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        yield _Bar(bar, description, total)


class _Bar:
    """Progress on a terminal."""

    def __init__(self, bar: Progress, description: str, total: float | None) -> None:
        self._bar = bar
        self._note = _Note()
        self._task = bar.add_task(description, total=total, note="")

    def update(
        self,
        advance: float = 1,
        *,
        loss: float | None = None,
        rows_per_second: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        note = self._note.renewed(loss, rows_per_second)
        self._bar.update(
            self._task, advance=advance, total=total, description=description, note=note
        )


class _Lines:
    """Progress in a log file: plain lines, seldom."""

    def __init__(self, description: str, total: float | None) -> None:
        self._description, self._total, self._done = description, total, 0.0
        self._note = _Note()
        self._began = self._said = time.monotonic()

    def update(
        self,
        advance: float = 1,
        *,
        loss: float | None = None,
        rows_per_second: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        self._done += advance
        self._total = total or self._total
        self._description = description or self._description
        note = self._note.renewed(loss, rows_per_second)
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            say(
                " ".join(part for part in (f"{self._description}:", self._share(now), note) if part)
            )

    def _share(self, now: float) -> str:
        if not self._total or not self._done:
            return f"{self._done:g} done"
        left = (now - self._began) / self._done * max(self._total - self._done, 0.0)
        return f"{self._done / self._total:.0%}, {left:.0f} s left"


class _Note:
    """The last loss and speed, kept over calls that do not bring them."""

    def __init__(self) -> None:
        self._loss: float | None = None
        self._speed: float | None = None

    def renewed(self, loss: float | None, speed: float | None) -> str:
        self._loss = self._loss if loss is None else loss
        self._speed = self._speed if speed is None else speed
        parts = [] if self._loss is None else [f"loss {self._loss:.4f}"]
        if self._speed is not None:
            parts.append(f"{self._speed:,.0f} rows/s")
        return "  ".join(parts)
