"""Ids that a user hands over in a file: each once, none of them empty, unknown ones refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from lorarec.data.tables import read_lines, read_table
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, NotFoundError, nearest


def read_id_file(path: Path, column: str) -> pl.Series:
    """Distinct ids in the order they first come: a line each in `.txt`, or a column of a table.

    Args:
        path: The file.
        column: Its name in a table; a table of one column may call it otherwise.

    Raises:
        DataError: The file cannot be read, lacks the column, or has an empty id.
    """
    if path.suffix.lower() == ".txt":
        ids = read_lines(path).alias(column)
    else:
        table = read_table(path)
        name = column if column in table.columns or table.width != 1 else table.columns[0]
        if name not in table.columns:
            raise DataError(
                f"{path} lacks the column {column!r}; it has {', '.join(table.columns)}. Expected "
                f"a table with it, or a .txt with an id a line."
            )
        ids = table[name].cast(pl.String)
    empty = np.flatnonzero((ids.is_null() | (ids == "")).fill_null(True).to_numpy())
    if len(empty):
        raise DataError(
            f"{path} has {len(empty):,} empty ids, in rows {empty[:5].tolist()} (from 0). "
            f"Expected an id in each."
        )
    return ids.unique(maintain_order=True)


def refuse_unknown(path: Path, ids: pl.Series, known: Vocabulary, where: str) -> None:
    """Refuse ids that nobody knows.

    Args:
        path: Where they come from.
        ids: Distinct.
        known: What there is.
        where: Names that, such as `the base and the catalogue of books`.

    Raises:
        NotFoundError: With their count, the first five, and the ids most like the first.
    """
    unknown = ids.filter(pl.Series(known.rows(ids, missing="mark") < 0))
    if not len(unknown):
        return
    first = ", ".join(repr(name) for name in unknown.head(5))
    # Likeness is asked of ids that begin alike, as comparing with millions takes minutes.
    some = known.series.filter(known.series.str.starts_with(unknown[0][:2])).head(20_000)
    close = nearest(unknown[0], some.to_list())
    hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    raise NotFoundError(
        f"{path}: {len(unknown):,} of {len(ids):,} ids are unknown to {where}: {first}.{hint} "
        f"Expected ids as the logs have them; take the others out of the file."
    )
