"""What shards save and send is measured as it is computed; the computed table says what breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import scale_plan

    return scale_plan


def rates(scale: ModuleType) -> object:
    """Round ones."""
    return scale.Rates(
        6e10, 4e10, 4e-9, 6e-7, 1e-3, {"adam": 2564.0}, {"adam": 1028.0}, 24.0, 79.0, 3e-6, 500.0,
        1e-8, 5e-5, 37.0, 2e-4, {False: 1.0, True: 3.0}, {}, {}, {},
    )  # fmt: skip


def test_the_quick_run_measures_what_shards_save_and_send(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "scale.py", "--quick", "--json", "s.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    measured = {row["name"]: row["value"] for row in json.loads((tmp_path / "s.json").read_text())}
    assert measured["sharded_held_over_whole"] == 0.5
    # Whole tables send as much as the rank with the most rows, and shards are not quite even.
    for name in ("whole", "sharded"):
        assert measured[f"{name}_received_over_formula"] == pytest.approx(1, abs=0.05)
    assert measured["whole_words"] == 1
    assert measured["sharded_words"] == 3
    assert "Not measured: gpus…" in done.stdout


def test_a_rank_of_shards_receives_no_more_the_more_ranks_there_are(scale: ModuleType) -> None:
    whole = [scale.received(1000, ranks, False) for ranks in (2, 8, 64)]
    sharded = [scale.received(1000, ranks, True) for ranks in (2, 8, 64)]
    assert whole[2] == 63 * whole[0]
    assert sharded[2] < 2 * sharded[0]


def test_whole_tables_break_on_any_number_of_gpus_and_shards_do_not(scale: ModuleType) -> None:
    world, has, own = scale.World(), scale.Assumed(), rates(scale)
    for gpus in (1, 8, 64):
        whole = scale.planned(own, gpus, False, world, has)
        assert "a GPU's memory: 4." in scale.breaks(whole, has)
    eight, many = (scale.planned(own, gpus, True, world, has) for gpus in (8, 64))
    assert "fits up to" in scale.breaks(eight, has)
    assert many.tables == pytest.approx(eight.tables / 8)
    smaller = replace(has, gpu_memory=40e9)
    assert "a GPU's memory: 1." in scale.breaks(eight, smaller)
