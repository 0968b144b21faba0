"""benchmarks/serving.py --quick: times of the server, and swaps under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_swaps_under_load_without_a_failure_or_a_mix(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/serving.py", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads(file.read_text())}
    assert measured["swap_failed_requests"] == measured["swap_mixed_answers"] == 0
    assert measured["swap_requests"] >= 400
    assert measured["swap_adapters_seen"] > 8
    assert {"p50_ms", "p99_ms", "requests_per_s", "p50_1_client_ms"} <= set(measured)
