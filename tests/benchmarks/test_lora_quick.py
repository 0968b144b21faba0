from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_finds_the_same_adapters_in_one_pass(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "lora.py",
            "--quick",
            "--only",
            "pass",
            "--json",
            "l.json",
            "--work",
            ".",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads((tmp_path / "l.json").read_text())}
    # Ratios of times are what they are: a loaded machine cannot tell.
    assert measured["made_in_one_pass_over_one_by_one"] > 0
    assert measured["made_peak_of_the_pass_over_the_largest_alone"] < 1.2
    assert measured["step_stacked_over_loop_256_domains"] > 0
    assert "3 domains, the same adapters to the bit" in done.stdout
    assert "Not measured: all_in_one_pass_over_one_by_one" in done.stdout
