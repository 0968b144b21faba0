from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_reports_recall_and_speed_of_each_index(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/retrieval.py", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads(file.read_text())}
    for name in ("hnsw", "ivf"):
        assert measured[f"{name}_recall"] > 0.95
        assert f"{name}_vs_exact" in measured
    assert "HNSW32" in done.stdout
