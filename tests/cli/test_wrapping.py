"""Where the text of a table breaks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lorarec.cli.wrapping import widths, wrapped

words = st.text("abé界,:0123456789 ", max_size=40)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("users:8,items:8,transform:8,bias", 16, ["users:8,items:8,", "transform:8,bias"]),
        ("users:8,items:8,transform:8,bias", 12, ["users:8,", "items:8,", "transform:8,", "bias"]),
        ("minus base", 5, ["minus", "base"]),
        ("1,234,567 rows", 9, ["1,234,567", "rows"]),
        ("abcdef gh", 4, ["abcd", "ef", "gh"]),
        ("abcde f", 4, ["abcd", "e f"]),
        ("界界界", 4, ["界界", "界"]),
        ("two\nlines", 9, ["two", "lines"]),
        ("", 3, [""]),
    ],
)
def test_text_breaks_between_words_and_after_commas(
    text: str, width: int, lines: list[str]
) -> None:
    assert wrapped(text, width).split("\n") == lines


@given(words, st.integers(2, 30))
def test_no_line_is_too_wide_and_no_letter_is_lost(text: str, width: int) -> None:
    found = wrapped(text, width)
    assert all(cell_len(line) <= width for line in found.split("\n"))
    assert re.sub(r"\s", "", found) == re.sub(r"\s", "", text)


@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=6))
def test_columns_fill_the_room_and_no_more(texts: list[list[str]]) -> None:
    found = widths(texts, [False] * len(texts), 60)
    natural = [max(1, *map(cell_len, column)) for column in texts]
    assert sum(found) == min(60, sum(natural))
    assert all(0 < width <= wish for width, wish in zip(found, natural, strict=True))


def test_headings_stay_whole_before_lines_do() -> None:
    assert widths([["kB on disk", "1"], ["t", "ab cd ef gh"]], [False, False], 16) == [10, 6]


def test_only_then_are_headings_broken_and_words_last_of_all() -> None:
    assert widths([["kB on disk", "1"], ["t", "abcdefgh"]], [False, False], 14) == [6, 8]
    assert widths([["run", "a" * 9], ["t", "b" * 9]], [True, False], 14) == [9, 5]


def test_what_is_kept_is_kept_whatever_the_room() -> None:
    assert widths([["run", "a" * 20], ["t", "bb"]], [True, False], 10) == [20, 1]
