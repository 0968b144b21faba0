"""Adapters beside full fine-tuning: the script runs and keeps to its budgets' arithmetic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

SCRIPT = ROOT / "benchmarks" / "quality" / "adaptation.py"
DATA = Path(os.environ.get("LORAREC_DATA") or ".").resolve()
NAMES = (
    "xmarket_seen_lora_over_full",
    "xmarket_seen_parameter_share",
    "xmarket_seen_lora_over_full_recall",
    "xmarket_seen_lora_over_full_60",
    "xmarket_seen_parameter_share_60",
    "xmarket_seen_lora_over_full_recall_60",
    "full_minus_base",
    "xmarket_wins_over_ease",
    "xmarket_mean_minus_ease_low",
    "xmarket_unseen_lora_over_full",
    "xmarket_unseen_wins_over_alone",
)


@pytest.mark.skipif(
    not os.environ.get("LORAREC_DATA") or not (DATA / "xmarket_electronics").is_dir(),
    reason="LORAREC_DATA is not set or has no folder xmarket_electronics: no real data",
)
def test_the_quick_run_has_every_measure_and_its_ratios_are_those_of_its_rows(
    tmp_path: Path,
) -> None:
    command = (sys.executable, SCRIPT, "--quick", "--json", "found.json", "--work", "work")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LORAREC_DATA": str(DATA)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    found = {row["name"]: row["value"] for row in rows}
    assert set(NAMES) <= found.keys()
    lora, full = (
        sum(found[f"xmarket_seen_{market}_{arm}_recall_at_20"] for market in ("jp", "in"))
        for arm in ("lora", "full")
    )
    assert found["xmarket_seen_lora_over_full_recall"] == pytest.approx(lora / full)
    assert found["xmarket_seen_parameter_share_60"] < found["xmarket_seen_parameter_share"] < 1
