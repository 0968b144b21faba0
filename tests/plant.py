"""A tiny project that retrains itself: its logs, its settings, and days after the first time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from world import SMALL, Words, store_in

from lorarec.config import Settings
from lorarec.pipeline.retrain import Ask, Retrained, retrain
from lorarec.tracking import Store
from lorarec.tracking.champions import reign

DAY = 86_400
FIRST = int(datetime(2026, 3, 1, 3, tzinfo=UTC).timestamp())
"""Moment of the first retraining; the logs end right before it."""
OWN = {
    "pipeline.logs": ["logs"],
    "pipeline.window_days": 10,
    "pipeline.min_new_rows": 1,
    "pipeline.backoff_seconds": 0,
    "gate.must_beat": ["champion"],
    "gate.min_effect": -1,
    "model.dim": 4,
    "adapt.epochs": 1,
}
"""A gate that lets through whatever is not a disaster: what it decides is other tests' matter."""


@dataclass
class Plant:
    """A project folder with logs, retrained as often as a test asks for."""

    folder: Path
    logs: pl.DataFrame
    """All there are; those of `FIRST` and before are in the folder at the start."""
    words: Words = field(default_factory=Words)

    @property
    def settings(self) -> Settings:
        return Settings().with_options({**SMALL, **OWN})

    @property
    def store(self) -> Store:
        return store_in(self.folder)

    def write(self, name: str, rows: pl.DataFrame) -> Path:
        path = self.folder / "logs" / name
        path.parent.mkdir(exist_ok=True)
        rows.write_parquet(path)
        return path

    def day(self, number: int) -> pl.DataFrame:
        """Rows of a day after the first retraining, from 1."""
        since = (pl.col("timestamp") - FIRST) // DAY
        return self.logs.filter(since == number - 1)

    def run(
        self, days: float = 0, ask: Ask | None = None, settings: dict[str, Any] | None = None
    ) -> Retrained:
        """Retrain so many days after the first time."""
        chosen = self.settings.with_options(settings or {})
        asked = replace(ask or Ask(), page=False)  # pictures take longer than all else
        return retrain(chosen, self.store, FIRST + int(days * DAY), asked, self.words.listener)

    def champion(self, domain: str) -> int | None:
        return reign(self.store, domain).version


def made_logs() -> pl.DataFrame:
    """Two domains over 120 days, the last twenty after `FIRST`."""
    from lorarec.data.synthetic import make_logs

    logs = make_logs(("books", "games"), users=90, items=60, interactions=2400, days=120)
    shift = FIRST + 20 * DAY - int(logs["timestamp"].max())  # type: ignore[arg-type]
    kept = logs.select("user_id", "item_id", "domain", "timestamp")
    return kept.with_columns(pl.col("timestamp") + shift)
