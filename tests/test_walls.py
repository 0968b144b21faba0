"""The walls between the rooms, and nothing heavy behind the front door."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "mlflow", "faiss", "polars", "scipy", "implicit", "optuna", "ray", "dagster")


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_the_import_contracts_hold() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import lorarec",
        "import lorarec.cli.main",
        "import lorarec.config, lorarec.errors",
        "from lorarec.cli.main import _run; _run(['--help'])",
        "from lorarec.cli.main import _run; _run(['--version'])",
    ],
)
def test_nothing_heavy_is_imported_at_the_door(code: str) -> None:
    found = python(f"{code}\nimport sys\nprint('loaded', *sorted(sys.modules))")
    loaded = found.stdout.rpartition("loaded")[2].split()
    assert "lorarec" in loaded
    assert not set(HEAVY) & set(loaded)


def test_importing_tracking_does_not_import_mlflow() -> None:
    found = python("import lorarec.tracking, sys; print('mlflow' in sys.modules)")
    assert found.stdout.strip() == "False"


def seconds(code: str) -> float:
    """The best of three, for a machine that is busy with something else."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        python(code)
        times.append(time.perf_counter() - began)
    return min(times)


def test_help_answers_within_half_a_second() -> None:
    nothing = seconds("pass")
    assert seconds("from lorarec.cli.main import run; run(['--help'])") < nothing + 0.5
