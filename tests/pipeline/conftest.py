"""A tiny project that was retrained once, copied for every test that goes on with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from plant import FIRST, OWN, Plant, made_logs
from world import SMALL, World, copied

from lorarec.data.interactions import Interactions
from lorarec.jobs.domain import train_and_valid


@pytest.fixture(scope="session")
def plant_template(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Plant:
    """Retrained once: seconds, once a session."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "mlruns").mkdir()
    shutil.copy(store_template, folder / "mlruns" / "mlflow.db")
    (folder / "lorarec.toml").write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in {**SMALL, **OWN}.items())
    )
    logs = made_logs()
    plant = Plant(folder, logs)
    plant.write("first.parquet", logs.filter(pl.col("timestamp") < FIRST))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = plant.run()
    assert not found.left_undone
    return plant


@pytest.fixture
def plant(bare_project: Path, plant_template: Plant) -> Iterator[Plant]:
    """A copy in the working directory.

    An adapter that goes on has nothing to validate on, so whatever training does is kept: in so
    small a world little of it helps.
    """

    def without(*arguments: Any) -> tuple[Interactions, Interactions]:
        train, valid = train_and_valid(*arguments)
        return train, valid.where(np.zeros(len(valid), dtype=bool))

    copied(World(plant_template.folder, "", "", "", ""), bare_project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lorarec.jobs.going.train_and_valid", without)
        yield Plant(bare_project, plant_template.logs)


@pytest.fixture
def unchanged(plant: Plant) -> Callable[[], bool]:
    """Whether the champions are those that were there at the start."""
    before = {name: plant.champion(name) for name in ("books", "games")}
    return lambda: before == {name: plant.champion(name) for name in before}
