"""The Gowalla benchmark runs, names what it found, and cuts its validation out of train alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pages import ROOT

NAME = "gowalla_m1"
DATA = Path(os.environ.get("LORAREC_DATA") or ".").resolve() / NAME
FOUND = bool(os.environ.get("LORAREC_DATA")) and DATA.is_dir()
ARMS = ("popularity", "item_knn", "ease", "ials", "bpr")


def test_validation_is_drawn_from_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.quality.gowalla import cut_valid

    frame = pl.DataFrame(
        {
            "user_id": [f"u{n % 50}" for n in range(2000)],
            "item_id": [f"i{n}" for n in range(2000)],
            "split": ["test" if n % 4 == 0 else "train" for n in range(2000)],
        }
    )
    cut = cut_valid(frame, 0)
    train = frame.filter(pl.col("split") == "train")
    assert sorted(cut["item_id"]) == sorted(train["item_id"])
    assert 100 < (cut["split"] == "valid").sum() < 200
    assert cut.equals(cut_valid(frame.sample(fraction=1.0, shuffle=True, seed=1), 0))


@pytest.mark.skipif(not FOUND, reason=f"LORAREC_DATA is not set or has no folder {NAME}")
@pytest.mark.timeout(200)
def test_every_promised_name_is_there_once(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "quality" / "gowalla.py"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORAREC_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, script, "--quick", "--json", "found.json", "--work", "work"],
        cwd=tmp_path,
        env={**clean, "OMP_NUM_THREADS": "1", "LORAREC_DATA": str(DATA.parent)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    values = {row["name"]: row["value"] for row in rows}
    assert len(values) == len(rows)
    assert {"recall_at_20", *(f"{arm}_recall_at_20" for arm in ARMS)} == values.keys()
    assert all(0 < value < 1 for value in values.values())
    assert "published MF-CCL" in done.stdout
