"""A few days played through by every policy: each trains what it says, and all are judged alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.year import by_domain, due_from, gained

ROOT = Path(__file__).resolve().parents[2]


def counts(screen: str) -> dict[str, list[int]]:
    """Bases and adapters of each policy, and what failed, as the table of all days has them."""
    lines = screen.split("All 3 days", 1)[1].splitlines()[3:7]
    cells = [line.split() for line in lines]
    return {row[0]: [int(row[place]) for place in (5, 6, 8)] for row in cells}


def test_the_quick_run_trains_what_each_policy_says(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "year.py"), "--quick"]
    done = subprocess.run(
        [*command, "--json", "y.json", "--work", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = counts(done.stdout)
    # Two domains on three days, a new base after two; `adapters` and `both` each day.
    assert found["base"] == [1, 0, 0]
    assert found["adapters"] == [1, 6, 0]
    assert found["weekly"] == [2, 4, 0]
    assert found["both"] == [2, 6, 0]
    measured = {row["name"]: row["value"] for row in json.loads((tmp_path / "y.json").read_text())}
    assert measured["year_bytes_base"] < measured["year_bytes_adapters"]
    assert measured["year_bytes_adapters"] < measured["year_bytes_both"]
    assert 0 < measured["year_cpu_seconds_base"] < measured["year_cpu_seconds_both"]
    assert all(0 < measured[f"year_recall_{name}"] < 1 for name in found)
    pictures = sorted(path.name for path in (tmp_path / "year").glob("*.png"))
    assert pictures == ["cpu.png", "recall.png"]


def test_a_base_is_due_from_the_first_of_three_days_in_a_row() -> None:
    assert due_from([True, True, False, True, True, True]) == 3
    assert due_from([True, True, False, True, True]) is None
    assert due_from([]) is None


def test_what_is_gained_is_paired_by_user_and_a_mean_over_domains() -> None:
    place = {"day": np.array([0, 0, 0, 1]), "domain": np.array([0, 0, 1, 0])}
    other = {**place, "recall": np.array([0.1, 0.2, 0.3, 0.9])}
    better = {**place, "recall": np.array([0.2, 0.3, 0.7, 0.0])}
    assert [each.round(6).tolist() for each in by_domain(better, other, [0])] == [[0.1, 0.1], [0.4]]
    found = gained(better, other, [0])
    assert found.mean == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))
