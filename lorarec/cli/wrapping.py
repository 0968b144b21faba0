"""How wide a table's columns are, and where their text breaks: between words, after commas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

_BREAK = re.compile(r"(?<=\s)(?=\S)|(?<=,)(?=[^\d\s])")
"""Before a word, or after a comma that is not a number's: `users:8,items:8` but not `1,234`."""


def widths(texts: Sequence[Sequence[str]], kept: Sequence[bool], room: int) -> list[int]:
    """The width of each column, so that all fit and as little as may be is broken.

    What is given up, and only as far as needed: lines between words, then headings between words,
    and last words longer than all else, which are the only ones to be broken inside.

    Args:
        texts: For each column its heading and cells.
        kept: For each column whether its text is never broken.
        room: Cells there are, without the space between columns.

    Returns:
        Widths whose sum is at most `room`, or as little as the kept columns allow.
    """
    natural = [max(1, *map(_widest_line, column)) for column in texts]
    words = [max(1, *map(_widest_word, column)) for column in texts]
    headed = [max(word, _widest_line(c[0])) for word, c in zip(words, texts, strict=True)]
    for least in (natural, headed, words):
        found = [n if keep else w for n, w, keep in zip(natural, least, kept, strict=True)]
        if sum(found) <= room:
            return _grown(found, natural, room)
    free = [place for place, keep in enumerate(kept) if not keep]
    while sum(found) > room and any(found[place] > 1 for place in free):
        found[max(free, key=found.__getitem__)] -= 1
    return found


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most `width` cells."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for piece in _BREAK.split(paragraph):
            if line and cell_len((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
            if cell_len(line.rstrip()) > width:
                *full, last = chop_cells(line.rstrip(), width)
                lines += full
                line = last + line[len(line.rstrip()) :]
        lines.append(line.rstrip())
    return "\n".join(lines)


def _grown(found: list[int], natural: list[int], room: int) -> list[int]:
    """The room that is left goes, cell by cell, to the column that takes the most lines."""
    for _ in range(room - sum(found)):
        lines = [n / w for n, w in zip(natural, found, strict=True)]
        found[lines.index(max(lines))] += max(lines) > 1
    return found


def _widest_line(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)


def _widest_word(text: str) -> int:
    return max((cell_len(piece.rstrip()) for piece in _BREAK.split(text)), default=0)
