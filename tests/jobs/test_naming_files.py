"""Which files name an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorarec.data.forgotten import Forgotten
from lorarec.jobs.naming_files import names_any


@pytest.mark.parametrize("name", ["lists.ndjson", "lists.jsonl"])
def test_lines_of_json_are_looked_at(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"user": "ann", "items": ["a"]}\n\n{"user": "bob", "items": ["b"]}\n')
    assert names_any(path, Forgotten.of(["bob"]))
    assert not names_any(path, Forgotten.of(["cid"]))
