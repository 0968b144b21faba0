from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from lorarec.errors import ArtifactError
from lorarec.record import FORMAT, SEAL, Record, load_record, save_record


class Made(Record):
    format_version: int = FORMAT
    domain: str
    cut: dict[str, int | None] = Field(default_factory=dict)
    rate: float = 0.1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.json"
    save_record(path, Made(domain="bücher", cut={"t_test": 170, "t_valid": None}, rate=1e-7))
    return path


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_record_survives_a_round_trip(file: Path) -> None:
    found = load_record(file, Made)
    assert found == Made(domain="bücher", cut={"t_test": 170, "t_valid": None}, rate=1e-7)


def test_how_the_file_is_laid_out_is_free(file: Path) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(values.items()))))
    assert load_record(file, Made).domain == "bücher"


@pytest.mark.parametrize(
    "change",
    [{"domain": "books"}, {"cut": {"t_test": 171, "t_valid": None}}, {"rate": 2e-7}, {SEAL: "0"}],
)
def test_any_edit_is_refused_and_names_the_file(file: Path, change: dict[str, Any]) -> None:
    edit(file, **change)
    with pytest.raises(ArtifactError, match=r"made\.json has digest .* was edited"):
        load_record(file, Made)


def test_a_record_without_its_digest_is_refused(file: Path) -> None:
    values = json.loads(file.read_text())
    del values[SEAL]
    file.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=f"it has no {SEAL}"):
        load_record(file, Made)


def test_a_number_that_json_does_not_know_is_refused(file: Path) -> None:
    edit(file, rate=float("nan"))
    with pytest.raises(ArtifactError, match="was edited"):
        load_record(file, Made)
