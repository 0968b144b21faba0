"""A rolling back-test: each window as a retraining on its day would have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorarec.config import Settings, Tracking
from lorarec.config.moments import shown_second
from lorarec.data.folds import rolling_folds, window_seconds
from lorarec.data.splits import SplitRecord
from lorarec.errors import DataError, NotFoundError
from lorarec.jobs.adapt import adapt
from lorarec.jobs.choose import NO_ADAPTER, choose_base
from lorarec.jobs.evaluate import Evaluated, evaluate
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.pretrain import pretrain
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store, open_store

TABLE = "folds.json"
"""The artifact of the back-test."""


@dataclass(frozen=True)
class Fold:
    """One window."""

    split: SplitRecord
    base: str
    """`runs:/<id>` of the base that was trained for it."""
    evaluated: Evaluated

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        ends = ("valid", self.split.t_valid), ("test", self.split.t_test), ("end", self.split.t_end)
        found = self.evaluated
        return {
            **{name: shown_second(second) for name, second in ends if second is not None},
            "base": self.base,
            "run": found.run,
            "arms": {arm: result.to_json() for arm, result in found.results.items()},
            "minus_base": {
                arm: {key: difference.to_json() for key, difference in by_metric.items()}
                for arm, by_metric in found.differences.items()
            },
        }


@dataclass
class BackTest:
    """What `backtest` found."""

    domain: str
    run: str
    experiment: str
    """The experiment that holds the folds' own runs."""
    folds: list[Fold] = field(default_factory=list)
    """Oldest first."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """First day of a fold's test → why it was not evaluated."""

    def record(self) -> dict[str, Any]:
        """As JSON takes it, without per-user values."""
        return {
            "domain": self.domain,
            "run": self.run,
            "experiment": self.experiment,
            "folds": [fold.record() for fold in self.folds],
            "passed_over": self.passed_over,
        }


def backtest(
    settings: Settings,
    domain: str,
    store: Store,
    folds: int,
    window: str,
    base: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> BackTest:
    """Train a base, an adapter and the other arms anew for each window, and evaluate its test.

    Domains that were kept out of the base are kept out of the folds' too; model and training are
    those of the settings. Every base and adapter of a fold sees rows before the fold's validation
    alone, and is chosen on that. Their runs go to an experiment of their own, so that no later
    command takes a base of the past for the newest.

    Args:
        settings: As `pretrain`, `adapt` and `evaluate` take them.
        domain: Its name.
        store: Where the base is and the back-test's run goes.
        folds: How many windows, the newest where the logs end.
        window: Their length, such as `7d`.
        base: The base whose logs and excluded domains are taken; None is the newest.
        paths: Other logs, by choice.
        listen: Takes words and progress.

    Raises:
        DataError: Rows have no time, or the logs are too short for the folds.
        NotFoundError: There is no base, or the domain is not in the logs.
    """
    length = window_seconds(window)
    chosen = choose_base(store, base, listen)
    info = chosen.base.info
    frame, source = info.data.read_again(info.split, paths)
    logs = list(paths) or [Path(path) for path in info.data.paths]
    first, last = frame["timestamp"].min(), frame["timestamp"].max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise DataError(
            "The logs have no timestamps. Expected seconds or a datetime for each row: a back-test "
            "cuts them by time."
        )
    del frame
    if info.excluded_domains:
        listen.say(f"Without {', '.join(info.excluded_domains)}, as the base was trained.")
    records = rolling_folds(first, last, folds, length)
    apart = open_store(
        Tracking(uri=store.uri, experiment=f"{store.experiment}-backtest"), environ={}
    )
    tags = standard_tags(domain=domain, data_digest=source.digest, part="test")
    params = {**settings.flat(), "domain": domain, "folds": folds, "window": window}
    recorded = store.run(
        f"backtest-{domain}-{folds}x{window}",
        "backtest",
        params=params,
        tags=tags,
        config=settings.model_dump(),
    )
    with recorded as run:
        run.log_inputs(read_logs(source, "evaluation"))
        found = BackTest(domain, run.uri, apart.experiment)
        for place, record in enumerate(records):
            assert record.t_test is not None
            day = shown_second(record.t_test)
            listen.say(f"Fold {place + 1} of {folds}: test from {day}.")
            try:
                fold = _fold(settings, domain, apart, record, logs, info.excluded_domains, listen)
            except NotFoundError as error:
                found.passed_over[day] = str(error)
                listen.say(f"Warning: the fold of {day} is passed over: {error}")
                continue
            found.folds.append(fold)
            for arm, result in fold.evaluated.results.items():
                metrics = {f"{arm}_{key}": value for key, value in result.metrics().items()}
                run.log_metrics(metrics, step=place)
            run.log_json(TABLE, found.record())
        if not found.folds:
            raise NotFoundError(
                f"None of the {folds} folds could be evaluated: "
                f"{next(iter(found.passed_over.values()))}"
            )
    return found


def _fold(
    settings: Settings,
    domain: str,
    store: Store,
    record: SplitRecord,
    paths: Sequence[Path],
    exclude: Sequence[str],
    listen: Listener,
) -> Fold:
    own = settings.with_options({"data.split": "time", "data.cutoffs": record.cutoffs})
    base = pretrain(own, paths, store, exclude, listen).run
    adapter = NO_ADAPTER
    if "lora" in own.evaluate.arms:
        adapter = adapt(own, domain, store, base, listen=listen).run
    return Fold(record, base, evaluate(own, domain, store, base, adapter, listen=listen))


def summary(found: BackTest, metric: str) -> dict[str, dict[str, float]]:
    """By arm: the mean over folds, the least and the largest, and in how many it beat the base."""
    shown = {}
    for arm in found.folds[0].evaluated.results:
        means = [fold.evaluated.results[arm].intervals[metric].mean for fold in found.folds]
        gains = [
            fold.evaluated.differences[arm][metric].interval.mean
            for fold in found.folds
            if arm in fold.evaluated.differences
        ]
        shown[arm] = {
            "mean": sum(means) / len(means),
            "least": min(means),
            "largest": max(means),
            "folds_above_base": float(sum(gain > 0 for gain in gains)),
        }
    return shown
