"""`lorarec export`: files that rank as `lorarec recommend` does, where there is no lorarec."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

from lorarec.jobs.recommend import Ready, prepare, recommend
from lorarec.storage import sha256_file

WITHOUT = """
import runpy, sys
for name in ("lorarec", "torch", "mlflow", "polars"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ranked_elsewhere(folder: Path, user: str, k: int) -> list[list[object]]:
    """What example.py prints in a process that cannot import lorarec."""
    found = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT, str(folder / "example.py"), user, str(k)],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    lists: list[list[object]] = json.loads(found.stdout)
    return lists


def same(ready: Ready, folder: Path, user: str, k: int) -> None:
    """The same items and scores as `recommend`."""
    wanted = recommend(ready, user, k)
    found = ranked_elsewhere(folder, user, k)
    assert [item for item, _ in found] == wanted.items
    assert [score for _, score in found] == pytest.approx(wanted.scores, rel=1e-5)


def test_the_export_ranks_as_recommend_does_without_lorarec(
    world: World, ran: Callable[..., Ended]
) -> None:
    done = ran("export", "--domain", "books", "--out", "model", "--json")
    assert done.code == 0, done.err
    folder, ready = world.folder / "model", prepare("books", world.store)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*done.json["files"], "export.json"])
    for name, digest in done.json["files"].items():
        assert sha256_file(folder / name) == digest
    had = ready.arena.frame["user_id"]
    no_vector = had.filter(pl.Series(ready.scorer.users.rows(had, missing="mark") < 0))
    for user, k in (("u00057", 8), ("nobody", 3), *[(each, 4) for each in no_vector.head(1)]):
        same(ready, folder, user, k)


def test_a_full_folder_is_refused_and_left_alone(world: World, ran: Callable[..., Ended]) -> None:
    (world.folder / "model").mkdir()
    (world.folder / "model" / "mine").write_text("x")
    assert ran("export", "--domain", "books", "--out", "model").code == 2
    assert [path.name for path in (world.folder / "model").iterdir()] == ["mine"]
