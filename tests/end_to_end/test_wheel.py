"""The wheel alone, unpacked in an empty folder, retrains: nothing of the checkout is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pages import ROOT
from plant import OWN, made_logs
from world import SMALL

needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
)


@needs_builder
def test_the_pipeline_runs_from_the_wheel_in_an_empty_folder(project: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", str(project / "dist"), str(ROOT)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = (project / "dist").glob("lorarec-*.whl")
    place = project / "installed"
    zipfile.ZipFile(wheel).extractall(place)
    outside = project / "empty"
    (outside / "logs").mkdir(parents=True)
    (project / "mlruns").rename(outside / "mlruns")
    made_logs().write_parquet(outside / "logs" / "first.parquet")
    (outside / "lorarec.toml").write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in {**SMALL, **OWN}.items())
    )
    environ = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}

    def typed(*words: str) -> str:
        found = subprocess.run(
            [sys.executable, *words], cwd=outside, env=environ, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    where = typed("-c", "import lorarec.pipeline; print(lorarec.pipeline.__file__)")
    assert Path(where.strip()).is_relative_to(place)
    assert "serve" in typed("-m", "lorarec", "pipeline", "-h")
    told = json.loads(typed("-m", "lorarec", "pipeline", "run", "--json"))
    assert [row["verdict"] for row in told["domains"]] == ["promote", "promote"]
