"""Past logs rolled day by day: each day's retraining sees the rows up to its end and no later ones.

All of it lives in a folder of its own, with a store of its own, so that no champion that serves is
touched by what is played through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from lorarec.config import Settings
from lorarec.data.logs import read_logs, write_logs
from lorarec.errors import ConfigError, DataError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.due import DAY
from lorarec.pipeline.history import Row, read
from lorarec.pipeline.ingest import named_logs
from lorarec.pipeline.page import NEWEST
from lorarec.pipeline.retrain import Ask, Retrained, retrain
from lorarec.pipeline.state import load
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.tracking.store import Store, open_store

FIRST = "first.json"
"""The file that says on which day a folder's days begin."""
DAYS, PREPARED, WORK, DATABASE = "days", "prepared", "retraining", "mlruns/mlflow.db"


class _Begun(Record):
    """The first day of a folder, which has all rows before it."""

    kind: Literal["lorarec backfill"] = "lorarec backfill"
    format_version: int = FORMAT
    first: str
    """Such as 2026-01-01."""


@dataclass(frozen=True)
class Day:
    """One day that was played through."""

    day: date
    rows: list[Row]
    failed: dict[str, str]
    before: bool = False
    """Whether an earlier call had done it."""


@dataclass(frozen=True)
class Backfilled:
    """All days."""

    folder: Path
    days: list[Day]

    @property
    def page(self) -> Path:
        """Of the last day, with all domains over time; written where `Ask.page` is."""
        return self.folder / WORK / NEWEST

    @property
    def failed(self) -> dict[str, str]:
        """What failed, as `day what` → why."""
        return {
            f"{each.day} {what}": why for each in self.days for what, why in each.failed.items()
        }


def backfill(
    settings: Settings,
    first: date,
    last: date,
    out: Path,
    ask: Ask | None = None,
    listen: Listener = SILENT,
    told: Callable[[Day], None] = lambda _: None,
) -> Backfilled:
    """Retrain at the end of each day from the first to the last, both included.

    The first day has all rows before it as well. A call that was broken off is gone on with by the
    same call: days that are done are not done again.

    Args:
        settings: `[pipeline] logs` are the past logs; its paths of data set and work folder and
            its webhook are left alone.
        first: Day, UTC.
        last: Day, UTC.
        out: Folder of all that is made.
        ask: What else is asked for, each day; the page is written on the last alone.
        listen: Takes words and progress.
        told: Takes each day as it is done.

    Raises:
        ConfigError: No logs are named, the last day is before the first, or the folder's days
            begin on another.
        ArtifactError: The folder's record of its first day was edited or damaged.
        DataError: The logs have no row in those days, or none with a time.
        LorarecError: As `retrain`.
    """
    if last < first:
        raise ConfigError(
            f"--to {last} is before --from {first}. Expected it on that day or later."
        )
    _check_first(first, out)
    own = settings_in(settings, out)
    frame = _logs(settings, first, last)
    store = open_store(own.tracking, environ={})
    done = load(out / WORK)
    days = []
    for day in _days(first, last):
        end = _start(day) + DAY - 1
        if done is not None and done.finished and done.at >= end:
            days.append(Day(day, [r for r in read(out / WORK) if r.at == end], {}, before=True))
            continue
        if not (out / FIRST).is_file():
            out.mkdir(parents=True, exist_ok=True)
            save_record(out / FIRST, _Begun(first=str(first)))
        _write_day(frame, day, first, out)
        listen.say(f"{day}: {(day - first).days + 1} of {(last - first).days + 1} days.")
        asked = ask or Ask()
        asked = replace(asked, page=asked.page and day == last)  # it shows all days
        found = _of_day(own, store, end, asked, listen)
        days.append(Day(day, found.rows, found.left_undone))
        told(days[-1])
    return Backfilled(out, days)


def _check_first(first: date, out: Path) -> None:
    """The first day has all rows before it: from another, they would be there twice or missing."""
    if (out / FIRST).is_file():
        begun = date.fromisoformat(load_record(out / FIRST, _Begun).first)
    elif days := sorted((out / DAYS).glob("*.parquet")):
        begun = date.fromisoformat(days[0].stem)  # of a version that kept no record
    else:
        return
    if begun != first:
        raise ConfigError(
            f"--from is {first}, and the days in {out} begin on {begun}. Expected the same day; go "
            f"on with --from {begun}, or choose another folder: --out DIR"
        )


def _of_day(settings: Settings, store: Store, end: int, ask: Ask, listen: Listener) -> Retrained:
    """A day's retraining; where one of it or of a day before was broken off, that first."""
    found = retrain(settings, store, end, ask, listen)
    if found.journal.at < end:
        found = retrain(settings, store, end, ask, listen)
    return found


def settings_in(settings: Settings, out: Path) -> Settings:
    """The settings of what is played through: logs, data set, work and store of its own."""
    pipeline = settings.pipeline.model_copy(
        update={
            "logs": (str(out / DAYS),),
            "prepared": str(out / PREPARED),
            "work": str(out / WORK),
            "webhook": None,
        }
    )
    # The days are written in the normal form: renamed, weighed and filtered already.
    read_already: dict[str, object] = {
        "columns": {},
        "events": {},
        "min_rating": None,
        "rating_weight": False,
    }
    return settings.model_copy(
        update={
            "pipeline": pipeline,
            "data": settings.data.model_copy(update=read_already),
            "tracking": settings.tracking.model_copy(
                update={"uri": f"sqlite:///{(out / DATABASE).absolute()}"}
            ),
        }
    )


def _logs(settings: Settings, first: date, last: date) -> pl.DataFrame:
    """The past logs up to the last day."""
    data = settings.data
    paths = named_logs(settings)
    frame = read_logs(paths, data.columns, data.min_rating, data.rating_weight, data.events).frame
    if frame["timestamp"].null_count():
        raise DataError(
            f"{frame['timestamp'].null_count():,} of {frame.height:,} rows have no timestamp, so "
            f"they belong to no day. Expected one in every row."
        )
    upto = frame.filter(pl.col("timestamp") < _start(last) + DAY)
    if not (upto["timestamp"] < _start(first) + DAY).any():
        begins = datetime.fromtimestamp(int(frame["timestamp"].min()), tz=UTC).date()  # type: ignore[arg-type]
        raise DataError(
            f"The logs have no row up to {first}: they begin on {begins}. Expected --from on a day "
            f"with rows before it, such as --from {begins + timedelta(days=30)}"
        )
    return upto


def _write_day(frame: pl.DataFrame, day: date, first: date, out: Path) -> None:
    """The rows of a day as a file of logs; of the first day all before it too."""
    begin, end = _start(day), _start(day) + DAY
    path = out / DAYS / f"{day}.parquet"
    time = pl.col("timestamp")
    own = frame.filter((time < end) & ((time >= begin) | (day == first)))
    if own.height and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_logs(own, path)


def _days(first: date, last: date) -> Iterator[date]:
    for count in range((last - first).days + 1):
        yield first + timedelta(days=count)


def _start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
