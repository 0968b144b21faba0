"""Policies of retraining played through day by day: what serves, judged on rows it has not seen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import Arrays, Cache, say
from lorarec.config import Settings
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.evaluate import evaluate_arms
from lorarec.jobs.listener import SILENT
from lorarec.jobs.named_adapter import base_of, find_adapter, load_all
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter
from lorarec.pipeline.backfill import DATABASE, WORK, Day, backfill, settings_in
from lorarec.pipeline.due import DAY
from lorarec.pipeline.retrain import Ask
from lorarec.pipeline.state import load
from lorarec.tracking.champions import PROMOTE, reign
from lorarec.tracking.model_names import model_name
from lorarec.tracking.registry import resolve
from lorarec.tracking.store import Store, open_store

METRIC, CUT = "recall_at_20", 20
NEVER = 36_500  # days
NO_ROWS = 1_000_000_000  # more than there will ever be
WEEK = 7
POLICIES: dict[str, dict[str, object]] = {
    "both": {"pipeline.min_new_rows": 1},
    "adapters": {"pipeline.base_max_age_days": NEVER, "pipeline.min_new_rows": 1},
    "weekly": {"pipeline.min_new_rows": NO_ROWS},
    "base": {"pipeline.base_max_age_days": NEVER, "data.min_domain_rows": NO_ROWS},
}
"""What is due when; the longest first. A base is due after the plan's week where nothing else is
said; with so many new rows asked for an adapter is due where the base changed alone, with so many
rows of a domain never."""
SETTINGS: dict[str, object] = {
    "pipeline.window_days": 1,
    "model.dim": 32,
    "train.epochs": 8,
    "train.batch_size": 2048,
    "train.negatives": 512,
    "train.threads": 1,
    "train.device": "cpu",
    "adapt.rank": 4,
    "adapt.epochs": 3,
    "adapt.negatives": 512,
    "adapt.learning_rate_grid": (1.0,),
    "gate.must_beat": ("champion",),
    "gate.min_effect": -0.05,
    "evaluate.bootstrap": 100,
}
"""One day is held out to stop training and for the gate, which refuses what is clearly worse."""


@dataclass(frozen=True)
class Plan:
    """The logs and the days that are played through."""

    logs: Path
    first: date
    """The first retraining is at its end, with all rows up to there."""
    days: int
    empty: Path
    """A database of MLflow with its tables and nothing in it."""
    week: int = WEEK
    """Days from a base to the next where that is by the calendar."""
    more: Mapping[str, object] = field(default_factory=dict)
    """Settings on top of `SETTINGS`."""

    def settings(self, policy: str) -> Settings:
        """Those that a policy is played through with."""
        own = {"pipeline.logs": (str(self.logs),), "pipeline.base_max_age_days": self.week}
        return Settings().with_options({**SETTINGS, **own, **self.more, **POLICIES[policy]})

    @property
    def last(self) -> date:
        """Of the last retraining."""
        return self.first + timedelta(days=self.days - 1)


def play(cache: Cache, name: str, plan: Plan, work: Path) -> Arrays:
    """Play a policy through, or take what was kept of it.

    Args:
        cache: Where it is kept.
        name: One of `POLICIES`.
        plan: Logs and days.
        work: Folder for what is removed at the end.

    Returns:
        By retraining, in order: `cpu`, `seconds`, `bytes`, `bases`, `adapters`, `promoted`,
        `failed`. By held-out user, in order of day, domain and user: `recall`, `day`, `domain`.
    """
    return cache.arm(name, lambda: _played(name, plan, work), policy=POLICIES[name])


def _played(name: str, plan: Plan, work: Path) -> Arrays:
    with TemporaryDirectory(dir=work, prefix=f"{name}-") as folder:
        out = Path(folder).resolve()
        (out / DATABASE).parent.mkdir()
        shutil.copy(plan.empty, out / DATABASE)
        settings = plan.settings(name)
        meter = Meter(name, plan, out, settings)
        backfill(settings, plan.first, plan.last, out, Ask(page=False), told=meter)
        return meter.found()


@dataclass
class Meter:
    """Takes each day that was played through: what it took, and how what serves fares the next."""

    name: str
    plan: Plan
    out: Path
    settings: Settings
    days: list[dict[str, float]] = field(default_factory=list)
    users: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frame = pl.read_parquet(self.plan.logs).sort("domain", "timestamp")
        self.store: Store = open_store(settings_in(self.settings, self.out).tracking, environ={})
        self.bases: dict[str, Chosen] = {}
        self._begin()

    def _begin(self) -> None:
        self.began = time.process_time(), time.perf_counter()

    def __call__(self, day: Day) -> None:
        cpu, seconds = time.process_time(), time.perf_counter()
        journal = load(self.out / WORK)
        assert journal is not None
        assert journal.base is not None
        new = journal.base.due and not journal.base.error
        sizes = [row.bytes or 0 for row in day.rows]
        self.days.append(
            {
                "cpu": cpu - self.began[0],
                "seconds": seconds - self.began[1],
                "bytes": sum(sizes) + (self._size(journal.base.run) if new else 0),
                "bases": new,
                "adapters": sum(size > 0 for size in sizes),
                "promoted": sum(row.verdict == PROMOTE for row in day.rows),
                "failed": len(day.failed),
            }
        )
        for what, why in day.failed.items():
            say(f"{self.name}, {day.day}: {what} failed: {why}")
        self._judge(day.day, journal.base.run)
        if len(self.days) % WEEK == 0 or len(self.days) == self.plan.days:
            say(f"{self.name}: {len(self.days)} of {self.plan.days} days")
        self._begin()

    def _size(self, base: str) -> int:
        folder, _ = resolve(self.store, base, "base")
        return sum(file.stat().st_size for file in folder.iterdir())

    def _judge(self, day: date, base: str) -> None:
        """Recall of what serves each domain, on the rows of the day after."""
        end = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + DAY
        moment = pl.col("timestamp")
        part = pl.when(moment < end).then(pl.lit("train")).otherwise(pl.lit("test"))
        known = self.frame.filter(moment < end + DAY).with_columns(split=part)
        for place, (domain, rows) in enumerate(self._by_domain(known).items()):
            if not (rows["split"] == "test").any():
                continue
            arena = Arena.of(rows, domain)
            chosen, adapter = self._serving(domain, base)
            found, _ = evaluate_arms(
                self._measured, arena, chosen, {"lora": adapter}, ["lora"], "test"
            )
            recall = found["lora"].per_user[METRIC]
            own = pl.DataFrame({"recall": recall}).with_columns(
                day=pl.lit(len(self.days) - 1, pl.Int64), domain=pl.lit(place, pl.Int64)
            )
            self.users.append(own)

    @cached_property
    def _measured(self) -> Settings:
        """One resample, as the intervals are of all policies together."""
        return self.settings.with_options({"evaluate.k": (CUT,), "evaluate.bootstrap": 1})

    @staticmethod
    def _by_domain(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
        parts = frame.partition_by("domain", as_dict=True, maintain_order=True)
        return {str(name): rows for (name,), rows in parts.items()}

    def _serving(self, domain: str, base: str) -> tuple[Chosen, Adapter | None]:
        """The champion on its own base; where there is none the newest base alone."""
        version = reign(self.store, domain).version
        if version is None:
            if base not in self.bases:
                self.bases[base] = choose_base(self.store, base, SILENT)
            return self.bases[base], None
        named = find_adapter(self.store, f"models:/{model_name(domain)}/{version}", None, SILENT)
        digest = named.info.base_digest
        if digest not in self.bases:
            self.bases[digest] = base_of(self.store, named, None, SILENT)
        return self.bases[digest], load_all([named], self.bases[digest])[0]

    def found(self) -> Arrays:
        """As `play` returns it."""
        users = pl.concat(self.users)
        days: dict[str, Any] = {
            key: np.array([day[key] for day in self.days], np.float64) for key in self.days[0]
        }
        return days | {column: users[column].to_numpy() for column in users.columns}
