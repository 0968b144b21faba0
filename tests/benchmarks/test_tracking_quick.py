"""benchmarks/tracking.py --quick: what tracking costs, and a registry that grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_measures_all_and_the_registry_is_flat(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/tracking.py", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads(file.read_text())}
    assert 0 < measured["tracking_share"] < 1
    assert measured["help_seconds"] > 0
    growth = [measured[f"registry_{name}_growth"] for name in ("list_each", "promote", "load")]
    assert max(growth) < 8  # of 4 times the adapters, on a busy machine
