"""A tiny world that was pretrained and adapted once, copied for every test that works in it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lorarec.config import Settings, Tracking
from lorarec.jobs.adapt import Adapted, adapt
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.pretrain import Pretrained, pretrain
from lorarec.models.artefact import Base, BaseInfo, load_base
from lorarec.record import load_record, save_record
from lorarec.tracking import Store, open_store
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import find_run, recent_runs

DOMAINS = ("books", "movies", "games")
OUTSIDE = "games"
"""What the other base was trained without."""
SMALL = {
    "model.dim": 8,
    "train.epochs": 2,
    "train.batch_size": 512,
    "train.learning_rate": 0.02,
    "train.threads": 1,
    "train.device": "cpu",
    "adapt.epochs": 3,
    "adapt.batch_size": 128,
    "adapt.learning_rate": 0.05,
    "adapt.learning_rate_grid": [1.0],
    "adapt.averaging": 1.0,
    "adapt.rank": 2,
    "evaluate.bootstrap": 20,
}
"""Enough to see what a command does; how well it learns is other tests' matter."""


@dataclass(frozen=True)
class Ended:
    """A command that ran."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout as one JSON document."""
        return json.loads(self.out)


@dataclass
class Words:
    """Listens to a job and remembers its sentences."""

    said: list[str] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        """What a job takes."""
        return Listener(say=self.said.append)

    def __contains__(self, text: str) -> bool:
        return any(text in sentence for sentence in self.said)


@dataclass(frozen=True)
class World:
    """A project folder: logs, a store with two bases and an adapter on each, small settings."""

    folder: Path
    base: str
    """The newest base, over all domains: `runs:/<id>`."""
    adapter: str
    """Of books on it."""
    other_base: str
    """An older one, trained without games."""
    other_adapter: str
    """Of games on the older one."""

    @property
    def logs(self) -> Path:
        """The logs of both bases; no column `split`."""
        return self.folder / "logs.parquet"

    @property
    def settings(self) -> Settings:
        """Small."""
        return Settings().with_options(SMALL)

    @cached_property
    def store(self) -> Store:
        """Open for writing."""
        return store_in(self.folder)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The logs as they lie on disk."""
        return pl.read_parquet(self.logs)

    def run(self, uri: str) -> RunInfo:
        """A recorded run."""
        return find_run(self.store, uri.removeprefix("runs:/"))

    def newest(self) -> RunInfo:
        """The run that began last, whatever became of it."""
        return recent_runs(self.store, 1)[0]

    def runs(self) -> int:
        """How many the store has."""
        return len(recent_runs(self.store, 100))

    def artifacts(self, uri: str) -> Path:
        """The folder of a run's artifacts."""
        return self.folder / "mlruns" / "artifacts" / uri.removeprefix("runs:/") / "artifacts"

    def load(self, uri: str) -> Base:
        """A base from disk."""
        return load_base(self.artifacts(uri) / "base")

    def pretrain(self, logs: pl.DataFrame, split: str = "time", **options: Any) -> Pretrained:
        """A base on other logs, written to the folder first."""
        path = self.folder / "other.parquet"
        logs.write_parquet(path)
        settings = self.settings.with_options({"data.split": split})
        return pretrain(settings, [path], self.store, **options)

    def adapt(
        self,
        domain: str,
        settings: dict[str, Any] | None = None,
        paths: Sequence[Path] = (),
        base: str | None = None,
        listen: Listener = SILENT,
    ) -> Adapted:
        """An adapter on a base of the store."""
        chosen = self.settings.with_options(settings or {})
        return adapt(chosen, domain, self.store, base, paths, listen)


def store_in(folder: Path) -> Store:
    """The store of a project folder, whatever the environment says."""
    uri = f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    return open_store(Tracking(uri=uri), environ={})


def make_template(folder: Path, database: Path) -> World:
    """Pretrain and adapt: seconds, once a session.

    Args:
        folder: Holds nothing but logs.parquet, of `DOMAINS`.
        database: An empty one of MLflow's schema.
    """
    (folder / "mlruns").mkdir()
    shutil.copy(database, folder / "mlruns" / "mlflow.db")
    lines = [f"{key} = {json.dumps(value)}" for key, value in SMALL.items()]
    (folder / "lorarec.toml").write_text("\n".join(lines) + "\n")
    settings, store = Settings().with_options(SMALL), store_in(folder)
    path = [folder / "logs.parquet"]
    other = pretrain(settings, path, store, [OUTSIDE])
    grown = adapt(settings, OUTSIDE, store)
    base = pretrain(settings, path, store)
    return World(folder, base.run, adapt(settings, "books", store).run, other.run, grown.run)


def copied(world: World, folder: Path) -> World:
    """The same world in another folder: MLflow and the bases keep absolute paths."""
    old, new = str(world.folder), str(folder)
    shutil.copytree(old, new, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))
    for path in folder.glob("mlruns/artifacts/*/artifacts/base/base.json"):
        info = load_record(path, BaseInfo)
        moved = info.data.model_copy(
            update={"paths": [p.replace(old, new) for p in info.data.paths]}
        )
        save_record(path, info.model_copy(update={"data": moved}))
    return World(folder, world.base, world.adapter, world.other_base, world.other_adapter)
