"""Files that were taken are not read again, and what has changed since is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plant import Plant

from lorarec.data.prepared.dataset import open_dataset
from lorarec.pipeline import ingest, watermark


@pytest.fixture
def read(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that an append was given."""
    given: list[str] = []
    plain = ingest.append

    def watching(folder: Path, paths: Sequence[Path], *more: Any, **options: Any) -> Any:
        given.extend(path.name for path in paths)
        return plain(folder, paths, *more, **options)

    monkeypatch.setattr(ingest, "append", watching)
    return given


def test_what_was_taken_is_not_read_again(plant: Plant, read: list[str]) -> None:
    # The template's files were copied, so that their names and times are others here.
    plant.run(1)
    assert read == ["first.parquet"]
    plant.write("day1.parquet", plant.day(1))
    plant.run(1, settings={"pipeline.min_new_rows": 10**6})
    assert read == ["first.parquet", "day1.parquet"]


def test_what_was_refused_or_has_changed_is_read_again(plant: Plant, read: list[str]) -> None:
    never = {"pipeline.min_new_rows": 10**6}
    plant.run(1, settings=never)
    bad = plant.write("day1.parquet", plant.day(1).drop("item_id"))
    for _ in range(2):
        assert plant.run(1, settings=never).left_undone
    assert read == ["first.parquet", "day1.parquet", "day1.parquet"]
    plant.day(1).write_parquet(bad)
    assert not plant.run(1, settings=never).left_undone
    os.utime(bad)
    plant.run(1, settings=never)
    assert read[3:] == ["day1.parquet", "day1.parquet"]


def test_a_damaged_watermark_or_another_data_set_reads_everything(plant: Plant) -> None:
    work, dataset = plant.folder / "retraining", open_dataset(plant.folder / "prepared")
    files = [plant.folder / "logs" / "first.parquet"]
    watermark.remember(work, dataset, watermark.stamps(files))
    assert watermark.unseen(work, dataset, files) == []
    (work / watermark.NAME).write_text("{")
    assert watermark.unseen(work, dataset, files) == files


def test_changed_settings_of_the_data_are_told(plant: Plant) -> None:
    plant.run(1, settings={"data.min_rating": 3.0})
    assert "[data] or the seed has changed" in plant.words
