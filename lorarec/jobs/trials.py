"""One trial of a search: a base trained to be measured, as a nested run; and what is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from lorarec.config import Settings
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, DivergedError
from lorarec.jobs.base_training import train_base
from lorarec.jobs.describing import log_history
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.listener import Listener
from lorarec.jobs.reading import SplitLogs, trained_ids
from lorarec.jobs.sides import Sides
from lorarec.jobs.space import Values
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import nested_runs
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.loop import STOP_METRIC

DIVERGED = DivergedError.__name__


@dataclass(frozen=True)
class Trial:
    """A trial that is over."""

    number: int
    """0 is the settings as they are."""
    values: Values
    run: str
    """`runs:/<id>`, under the search's run."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of validation at the best epoch, with `best_epoch` and `train_seconds`; empty where the
    training diverged."""

    @property
    def score(self) -> float | None:
        """What decides: nDCG on validation, as it does about early stopping. None: diverged."""
        return self.metrics.get(STOP_METRIC)


@dataclass(frozen=True)
class Arena:
    """What all trials of a search share: logs that were read and split once."""

    settings: Settings
    frame: pl.DataFrame
    """Train and validation rows; no trial is handed a row of test."""
    users: Vocabulary
    items: Vocabulary
    sides: Sides
    device: str
    data_digest: str
    split: str
    """How they were split."""

    @classmethod
    def of(
        cls, settings: Settings, logs: SplitLogs, tables: Sides, device: str, listen: Listener
    ) -> Arena:
        """The arena of split logs and tables of features.

        Raises:
            DataError: There is nothing to validate on, or as `Sides.fitted`.
        """
        frame = logs.frame.filter(pl.col("split").is_in(["train", "valid"]))
        users, items = trained_ids(frame)
        train, valid = train_and_valid(frame, users, items)
        if not any(len(train.domain(d)) and len(valid.domain(d)) for d in train.domains):
            raise DataError(
                "No validation row is of a user with a train row, so no trial could be told from "
                "another. Expected some; look at the split with lorarec data split, or ask for "
                "more with --set data.valid_share=0.2"
            )
        sides = tables.fitted(settings, users, items, listen)
        return cls(
            settings, frame, users, items, sides, device, logs.source.digest, logs.split.used
        )

    def run(
        self, number: int, values: Values, store: Store, parent: str, listen: Listener
    ) -> Trial:
        """Train a base at some values and record how it validated; the base is not kept.

        Args:
            number: Of the trial.
            values: What is set otherwise than in the settings.
            store: Where the run goes.
            parent: Id of the search's run.
            listen: Takes words and progress.

        Returns:
            The trial; a training that diverged is recorded as FAILED, and returned like any other.
        """
        settings = self.settings.with_options(values)
        tags = standard_tags(
            data_digest=self.data_digest, split=self.split, device=self.device, trial=number
        )

        def begin(_: str, rows: int) -> None:
            listen.begin(f"trial {number} of {settings.tune.trials}", rows)

        uri = ""
        try:
            with store.run(
                f"trial-{number}",
                "trial",
                params=settings.flat(),
                tags=tags,
                config=settings.model_dump(),
                parent=parent,
            ) as run:
                uri = run.uri
                _, _, history = train_base(
                    settings,
                    self.frame,
                    self.users,
                    self.items,
                    self.device,
                    replace(listen, begin=begin),
                    self.sides,
                )
                log_history(run, history)
        except DivergedError as error:
            listen.say(f"Trial {number} diverged and is left out: {error}")
            return Trial(number, values, uri)
        spent = {"best_epoch": float(history.best_epoch), "train_seconds": history.seconds}
        return Trial(number, values, uri, _kept(history.epochs[history.best_epoch] | spent))


def recorded_trials(store: Store, parent: str, start: Values) -> dict[int, Trial]:
    """The trials of a search that are over, by number.

    One that was broken off is not among them: it is to be run again. Where its process was killed
    it still counts as running, and is ended here.

    Args:
        store: Where the runs are.
        parent: Id of the search's run.
        start: Which settings vary, each with a value of the type that it has.
    """
    found: dict[int, Trial] = {}
    for info in nested_runs(store, parent):
        if info.status == "RUNNING":
            store.killed(info.run_id)
        diverged = info.status == "FAILED" and (info.tag("error") or "").startswith(DIVERGED)
        if (info.status == "FINISHED" or diverged) and (number := info.tag("trial")) is not None:
            found.setdefault(int(number), _trial(info, int(number), start, diverged))
    return found


def _trial(info: RunInfo, number: int, start: Values, diverged: bool) -> Trial:
    values = {key: type(value)(info.params[key]) for key, value in start.items()}
    return Trial(number, values, info.uri, {} if diverged else _kept(info.metrics))


def _kept(metrics: Mapping[str, float]) -> dict[str, float]:
    """What is told of a trial, whether it has just ended or was read from its run."""
    names = ("best_epoch", "train_seconds")
    return {k: v for k, v in metrics.items() if k in names or k.startswith("valid_")}


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Best first, the earlier one of equals before the later; diverged ones last."""
    return sorted(trials, key=lambda t: (t.score is None, -(t.score or 0.0), t.number))
