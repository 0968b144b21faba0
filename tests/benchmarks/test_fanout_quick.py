"""The fan-out's measures run, and every way makes the same adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_makes_the_same_adapters_every_way(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "fanout.py", "--quick"]
    done = subprocess.run(
        [*command, "--json", "f.json", "--work", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads((tmp_path / "f.json").read_text())}
    assert measured["fanout_3_over_serial"] > 0
    assert 0 < measured["worker_private_mib"] < measured["worker_resident_mib"]
    assert "3 domains of about 1,000 rows, the same adapters to the bit" in done.stdout
