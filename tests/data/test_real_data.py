"""Every real data set keeps the column contract. They are found through LORAREC_DATA alone."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from lorarec.cli.data import data
from lorarec.config import Settings
from lorarec.data.logs import load_logs
from lorarec.data.prepared.build import prepare
from lorarec.data.prepared.manifest import Options
from lorarec.data.splits import apply_split, split_logs

ROOT = os.environ.get("LORAREC_DATA", "")
FILES = sorted(Path(ROOT).resolve().rglob("interactions.parquet")) if ROOT else []
SKIP = pytest.param(
    None,
    marks=pytest.mark.skip(
        reason=f"LORAREC_DATA is {ROOT!r}" if ROOT else "LORAREC_DATA is not set: no real data"
    ),
)


def _name(path: Path | None) -> str:
    return path.parent.name if path else "none"


@pytest.mark.parametrize("path", FILES or [SKIP], ids=_name)
def test_real_logs_pass_the_check(settings: Settings, path: Path) -> None:
    result = CliRunner().invoke(data, ["check", str(path.parent)], obj=settings)
    assert result.exit_code == 0, result.output
    assert "The contract holds" in result.stdout


@pytest.mark.parametrize("path", FILES or [SKIP], ids=_name)
def test_real_splits_can_be_used(path: Path) -> None:
    names = pl.scan_parquet(path).collect_schema().names()
    own = next(name for name in names if name.startswith("split"))
    logs = load_logs(path, {"split": own} if own != "split" else {})
    split, record = split_logs(logs, "column")
    assert record.counts["train"].rows > 0
    assert record.counts["valid"].rows > 0
    assert apply_split(logs, record).equals(split)


@pytest.mark.parametrize("path", FILES or [SKIP], ids=_name)
def test_a_prepared_data_set_gives_the_real_logs_back(path: Path, tmp_path: Path) -> None:
    found = prepare([path], tmp_path / "set", Options(split="none")).frame()
    logs = load_logs(path)
    assert found.sort(found.columns).equals(logs.sort(logs.columns))
