"""How a source's files are named, and what a converter gets and gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lorarec.data.public.record import Chosen
from lorarec.errors import DataError


@dataclass(frozen=True)
class Found:
    """A file of the original's format, on disk and not packed."""

    name: str
    """Its name in the archive or folder that it came from."""
    path: Path
    words: Mapping[str, str] = field(default_factory=dict)
    """What its name says, such as the market."""


Files = Mapping[str, Sequence[Found]]
"""Role of a file, such as `ratings` → the files that have it, by name."""


@dataclass(frozen=True)
class Converted:
    """What a converter makes of a source's files."""

    interactions: pl.DataFrame
    """Columns of the contract, in its names and types; the rest is added by `normalise`."""
    users: pl.DataFrame | None = None
    """`user_id` and what the source knows of users."""
    items: pl.DataFrame | None = None
    """`item_id` and what the source knows of items."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or decided."""
    may_lack: frozenset[str] = frozenset()
    """Columns that are null in some rows of the original; elsewhere a null is a damaged file."""


@dataclass(frozen=True)
class Layout:
    """The files of a source and what makes logs of them."""

    roles: Mapping[str, str]
    """Role → regular expression of the file's name, from the start of a folder or file name."""
    needed: tuple[str, ...]
    """Roles of which one must be there."""
    expected: str
    """The files in words, for errors."""
    convert: Callable[[Files, Chosen], Converted]

    def role(self, name: str) -> tuple[str, dict[str, str]] | None:
        """The role of a file and what its name says; None for a file of no interest.

        Args:
            name: Its path in the archive or folder, with `/`.
        """
        for role, pattern in self.roles.items():
            if found := re.search(rf"(?:^|/){pattern}$", name):
                return role, found.groupdict(default="")
        return None


def read_text(
    found: Found, columns: Sequence[str], separator: str, header: bool, quote: str | None = None
) -> pl.LazyFrame:
    """A table of text, whatever it holds, so that the id `007` stays as it is.

    Args:
        found: The file.
        columns: Its columns: all of them and in order where there is no header; otherwise those
            that must be there, in any order.
        separator: One character.
        header: Whether the first line names the columns.
        quote: What may surround a value that holds the separator.

    Returns:
        A lazy frame of these columns, all text.

    Raises:
        DataError: The file has other columns.
    """
    with reading(found):
        frame = pl.scan_csv(
            found.path, separator=separator, has_header=header, quote_char=quote, infer_schema=False
        )
        names = frame.collect_schema().names()
    if not header and len(names) == len(columns):
        frame, names = frame.rename(dict(zip(names, columns, strict=True))), list(columns)
    if absent := [c for c in columns if c not in names]:
        what = f"no column {absent[0]!r}" if header else f"{len(names)} columns"
        raise DataError(
            f"{found.name} has {what}: found {', '.join(names[:8])}. Expected the original file, "
            f"with {', '.join(columns)} separated by {separator!r}."
        )
    return frame.select(columns)


@contextmanager
def reading(found: Found) -> Iterator[None]:
    """Turns what Polars says of a file into a sentence with its name.

    Raises:
        DataError: The file is empty, cannot be read, or a value in it is of another type.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{found.name} could not be read: {reason}. Expected a whole file in the original's "
            f"format; get it again."
        ) from error


def collect(found: Found, frame: pl.LazyFrame) -> pl.DataFrame:
    """A file's table in memory, in file order; `reading` says what is wrong with it."""
    with reading(found):
        return frame.collect()
