"""Small canonical logs for the tests of data/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lorarec.data.schema import normalise


@pytest.fixture(scope="session")
def canonical() -> Callable[..., pl.DataFrame]:
    """`canonical(["u i d 5", ...], **columns)`: rows of user, item, domain, maybe time."""

    def make(rows: list[str], **columns: Any) -> pl.DataFrame:
        cells = [row.split() for row in rows]
        names = ("user_id", "item_id", "domain", "timestamp")
        values = {name: [c[i] for c in cells if i < len(c)] for i, name in enumerate(names)}
        frame = pl.DataFrame({name: value for name, value in values.items() if value})
        extra = {name: pl.Series(values) for name, values in columns.items()}
        return normalise(frame.with_columns(**extra).lazy()).collect()

    return make
