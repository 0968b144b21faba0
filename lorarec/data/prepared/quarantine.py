"""Bad rows as text, with their file and the first rule they break, in files of a batch each."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lorarec.data.schema import in_calendar
from lorarec.data.tables import write_parquet


class Quarantine:
    """The rows that one generation sets aside.

    Args:
        folder: Of the data set.
        number: Of the generation: part of the files' names.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number, self._files = folder, number, 0

    def add(self, rows: pl.DataFrame) -> None:
        """Set rows aside."""
        text = in_calendar(rows).with_columns(pl.all().cast(pl.String, strict=False))
        write_parquet(text, self._next())

    def take(self, file: Path) -> None:
        """Set rows aside that another quarantine has written, by moving its file."""
        path = self._next()
        path.parent.mkdir(exist_ok=True)
        file.replace(path)

    def _next(self) -> Path:
        name = f"quarantine/{self._number:06d}-{self._files:05d}.parquet"
        self._files += 1
        return self._folder / name
