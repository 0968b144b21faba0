"""What the pages tell a newcomer to type works as typed, in order, in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pages import ROOT, commands, words

FAST = {
    "LORAREC_TRAIN__EPOCHS": "2",
    "LORAREC_TRAIN__THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LORAREC_ADAPT__EPOCHS": "2",
    "LORAREC_MODEL__DIM": "16",
    "LORAREC_EVALUATE__BOOTSTRAP": "50",
}
"""Enough to see that a command works; what it finds is other tests' matter."""
NEVER_END = (["lorarec", "ui"], ["lorarec", "serve"])


def typed(page: str) -> list[str]:
    """The commands of a page that need nothing but the installed `lorarec` and do end."""
    return [
        command
        for command in commands(ROOT / page)
        if words(command)[0] in {"lorarec", "printf"} and words(command) not in NEVER_END
    ]


def run(command: str) -> None:
    """Run one line of a page in a shell, with a short training."""
    environ = {
        **os.environ,
        **FAST,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    found = subprocess.run(["sh", "-ec", command], env=environ, capture_output=True, text=True)
    assert found.returncode == 0, f"{command}\n{found.stdout}{found.stderr}"


@pytest.mark.timeout(900)  # a dozen commands, each of which loads torch and MLflow
@pytest.mark.parametrize("page", ["README.md", "data/README.md", "pipelines/README.md"])
def test_the_commands_of_a_page_run_as_typed(project: Path, page: str) -> None:
    for folder in ("data/sample", "pipelines"):
        shutil.copytree(ROOT / folder, project / folder)
    assert typed(page)
    for command in typed(page):
        run(command)
    if page == "README.md":
        scored = pl.read_csv("data/scored.csv")
        assert scored.columns == [*pl.read_csv("data/pairs.csv").columns, "score"]
        assert scored["score"].is_finite().all()
