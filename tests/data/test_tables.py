from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.tables import write_parquet
from lorarec.errors import StoreError


def test_a_table_and_its_metadata_come_back(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    write_parquet(frame, tmp_path / "new" / "a.parquet", {"key": "value"})
    assert pl.read_parquet(tmp_path / "new" / "a.parquet").equals(frame)
    assert pl.read_parquet_metadata(tmp_path / "new" / "a.parquet")["key"] == "value"


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    frame = pl.DataFrame({"a": [str(i * 7919) for i in range(10_000)]})
    with room_for(4096), pytest.raises(StoreError, match="Could not write"):
        write_parquet(frame, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []
