"""Tables, JSON and progress: results on stdout, the rest on stderr."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from lorarec.cli import output
from lorarec.cli.output import cell, print_json, print_table, progress, say

Captured = pytest.CaptureFixture[str]


def test_a_table_fits_and_aligns(capsys: Captured) -> None:
    print_table(
        ("domain", "recall", "note"), [("books", 0.12345, None), ("music", 1.0, "word " * 40)]
    )
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].split() == ["domain", "recall", "note"]
    assert lines[2].split() == ["books", "0.1235", "-"]
    assert lines[2].index("0.1235") == lines[3].index("1.0000")


def test_ids_to_copy_stay_whole(capsys: Captured) -> None:
    print_table(("run", "note"), [("a" * 60, "b" * 90)], whole=("run",))
    assert "a" * 60 in capsys.readouterr().out


def test_no_word_of_a_wide_table_is_broken(capsys: Captured) -> None:
    headings = [f"recall@{n}" for n in range(1, 8)]
    targets = "users:8,items:8,transform:8,bias"
    print_table(("targets", *headings), [(targets, *[0.5] * 7)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["targets", *headings]
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[2:]] == ["users:8,items:8,transform:8,", "bias"]


def test_markup_in_values_is_text(capsys: Captured) -> None:
    print_table(("a",), [("[red]x[/red]",), (":smile:",)])
    say("[bold]y[/bold]")
    out, err = capsys.readouterr()
    assert "[red]x[/red]" in out
    assert ":smile:" in out
    assert err == "[bold]y[/bold]\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (math.nan, "-"), (12345, "12,345"), (0.5, "0.5000"), (True, "yes"), ("x", "x")],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_json_is_one_strict_document(capsys: Captured) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    print_json({"a": [math.nan, np.float32(0.5), np.int64(3)], "b": moment, "ü": (1,)})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": [None, 0.5, 3], "b": "2026-01-02T03:04:05+00:00", "ü": [1]}
    assert err == ""


def test_progress_into_a_file_is_quiet_at_first(capsys: Captured) -> None:
    with progress("pretrain", total=10) as meter:
        meter.update(loss=0.5, rows_per_second=1000.0)
    assert capsys.readouterr() == ("", "")


def test_progress_into_a_file_says_a_line_now_and_then(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with progress("pretrain", total=10) as meter:
        meter.update(1, loss=0.5, rows_per_second=1000.0)
        meter.update(1)
        meter.update(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "pretrain: 20%, 44 s left loss 0.5000  1,000 rows/s\n"


def test_progress_on_a_terminal_is_a_bar_on_stderr(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(output.console, "_force_terminal", True)
    monkeypatch.setattr(output.console, "is_interactive", True)
    with progress("adapt books", total=2) as meter:
        meter.update(1, loss=0.25, rows_per_second=2000.0)
        meter.update(1, total=4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "adapt books" in err
    assert "loss 0.2500" in err
    assert "2,000 rows/s" in err
