"""The history table: append-only, once for each retraining, readable by people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorarec.errors import ArtifactError
from lorarec.pipeline.history import NAME, Row, latest_due, read, record


def test_rows_add_up(tmp_path: Path) -> None:
    record(tmp_path, [Row("r1", 1, "a", "promote", recall=0.5)])
    record(tmp_path, [Row("r2", 2, "a", "idle")])
    assert [(row.retrain, row.recall) for row in read(tmp_path)] == [("r1", 0.5), ("r2", None)]


def test_the_same_retraining_told_twice_stands_once(tmp_path: Path) -> None:
    rows = [Row("r1", 1, "a", "promote"), Row("r1", 1, "b", "failed")]
    record(tmp_path, rows)
    record(tmp_path, rows)
    assert read(tmp_path) == rows


def test_a_line_is_one_json(tmp_path: Path) -> None:
    record(tmp_path, [Row("r1", 1, "märkte", "idle")])
    (line,) = (tmp_path / NAME).read_text().splitlines()
    assert json.loads(line)["domain"] == "märkte"


def test_keys_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    record(tmp_path, [Row("r1", 1, "a", "idle")])
    path = tmp_path / NAME
    path.write_text(path.read_text().replace('{"retrain"', '{"colour": 1, "retrain"'))
    assert read(tmp_path) == [Row("r1", 1, "a", "idle")]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    record(tmp_path, [Row("r1", 1, "a", "idle")])
    with open(tmp_path / NAME, "a") as file:
        file.write("{half")
    with pytest.raises(ArtifactError, match="line 2"):
        read(tmp_path)


def test_the_last_time_a_domain_was_due_is_what_status_shows() -> None:
    rows = [Row("r1", 1, "a", "promote"), Row("r2", 2, "a", "idle"), Row("r2", 2, "b", "idle")]
    found = latest_due(rows)
    assert (found["a"].retrain, found["b"].retrain) == ("r1", "r2")
