"""benchmarks/pipelines.py --quick: a retraining that is really killed, and its plain rerun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_where_a_retraining_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    command = [sys.executable, "benchmarks/pipelines.py", "--quick", "--only", "kills"]
    done = subprocess.run(
        [*command, "--json", str(file), "--work", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads(file.read_text())}
    assert measured["kill_lost"] == 0, done.stdout
    assert measured["kill_rounds"] == 1
    assert measured["kill_reads"] > 0
