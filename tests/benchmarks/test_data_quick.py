"""The benchmark of `lorarec data` runs on small logs and names its measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_data_benchmark_runs_and_names_its_measures(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "data.py"
    found = tmp_path / "data.json"
    command = [sys.executable, str(script), "--quick", "--json", str(found), "--work"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(found.read_text())}
    assert {"prepare_vs_pandas", "append_share", "prepare_300000_rows_gib"} <= names
