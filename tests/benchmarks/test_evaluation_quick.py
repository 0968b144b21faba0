from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_agrees_with_implicit_and_names_the_peers_it_has_not(tmp_path: Path) -> None:
    file = tmp_path / "e.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/evaluation.py", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads(file.read_text())}
    assert {"users_vs_implicit", "gemm_share", "made_users_per_s"} <= set(measured)
    assert measured["gemm_share"] > 0
    for name in ("rectools", "lenskit"):
        assert f"Not measured: users_vs_{name}: no environment was named" in done.stdout
