"""The picture of recall by rank."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lorarec.evaluation.one_standard_error import smallest_within, standings
from lorarec.evaluation.rank_curve import RankCurve, draw


@pytest.fixture
def curve() -> RankCurve:
    users = np.random.default_rng(0).random(40)
    points = standings({1: users - 0.2, 2: users, 4: users[::-1]})
    return RankCurve("books", points, {1: 0.1, 2: 0.2, 4: 0.3}, 40, 0.25, smallest_within(points))


def test_the_picture_is_a_png_and_pyplot_is_not_touched(curve: RankCurve, tmp_path: Path) -> None:
    draw(curve, tmp_path / "curve", "books", "a note")
    content = (tmp_path / "curve").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    size = [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)]
    assert size == [1080, 660]
    assert "matplotlib.pyplot" not in sys.modules


def test_a_curve_of_one_rank_is_drawn_too(curve: RankCurve, tmp_path: Path) -> None:
    points = {2: curve.points[2]}
    one = RankCurve("books", points, {2: 0.2}, 40, 0.25, 2)
    draw(one, tmp_path / "one.png", "books")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_the_record_is_json_and_names_best_and_chosen(curve: RankCurve) -> None:
    record = json.loads(json.dumps(curve.record()))
    assert (record["best"], record["chosen"], record["base"]) == (2, 2, 0.25)
    assert [point["rank"] for point in record["points"]] == [1, 2, 4]
    assert not record["points"][0]["within_one_standard_error"]


def test_matplotlib_is_loaded_by_drawing_alone() -> None:
    code = "import sys, lorarec.evaluation.rank_curve; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
