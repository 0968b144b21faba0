"""The MovieLens benchmark runs, and names what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

NAME = "movielens1m_m1"
DATA = Path(os.environ.get("LORAREC_DATA") or ".").resolve() / NAME
FOUND = bool(os.environ.get("LORAREC_DATA")) and DATA.is_dir()
ARMS = ("mf", "popularity", "item_knn", "ease", "ials", "bpr")


@pytest.mark.skipif(not FOUND, reason=f"LORAREC_DATA is not set or has no folder {NAME}")
@pytest.mark.timeout(200)
def test_every_promised_name_is_there_once(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "quality" / "movielens1m.py"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORAREC_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, script, "--quick", "--json", "found.json", "--work", "work"],
        cwd=tmp_path,
        env={**clean, "OMP_NUM_THREADS": "1", "LORAREC_DATA": str(DATA.parent)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    values = {row["name"]: row["value"] for row in rows}
    assert len(values) == len(rows)
    expected = {"recall_at_20", "two_tower_over_mf", *(f"{arm}_recall_at_20" for arm in ARMS)}
    assert expected <= values.keys()
    assert "two_tower_over_mf_tail" in done.stdout
    ratio = values["recall_at_20"] / values["mf_recall_at_20"]
    assert values["two_tower_over_mf"] == pytest.approx(ratio)
    assert values["popularity_recall_at_20"] < values["mf_recall_at_20"]
