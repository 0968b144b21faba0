"""Evaluate arms of every domain on one base: one table, corrected for how many domains it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorarec.config import Settings
from lorarec.errors import DataError, NotFoundError, TrainingError
from lorarec.evaluation.significance import Interval
from lorarec.evaluation.transfer import DomainDifference, compare_over_domains, mean_differences
from lorarec.jobs.choose import NO_ADAPTER, choose_adapter, choose_base
from lorarec.jobs.evaluate import Evaluated, evaluate, headline_keys
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.trained_arms import Pooled
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

TABLE = "domains.json"
"""The artifact of the pass."""


@dataclass
class EvaluatedDomains:
    """What `evaluate_domains` found."""

    part: str
    run: str
    """`runs:/<id>`, with the domains' runs under it."""
    domains: dict[str, Evaluated] = field(default_factory=dict)
    """By name, sorted."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Domain → why it was not evaluated."""
    differences: list[DomainDifference] = field(default_factory=list)
    """Each arm minus the frozen base in each domain; empty without the base arm."""
    means: dict[str, dict[str, Interval]] = field(default_factory=dict)
    """Their mean over domains."""

    def record(self) -> dict[str, Any]:
        """All of it as JSON takes it, without per-user values."""
        return {
            "part": self.part,
            "run": self.run,
            "passed_over": self.passed_over,
            "domains": {
                name: {
                    "run": own.run,
                    "arms": {arm: result.to_json() for arm, result in own.results.items()},
                }
                for name, own in self.domains.items()
            },
            "minus_base": [difference.to_json() for difference in self.differences],
            "mean_minus_base": {
                arm: {key: vars(interval) for key, interval in by_metric.items()}
                for arm, by_metric in self.means.items()
            },
        }


def evaluate_domains(
    settings: Settings,
    store: Store,
    base: str | None = None,
    part: str = "test",
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> EvaluatedDomains:
    """Evaluate every domain of the logs as `evaluate` does, runs under one.

    A domain without an adapter on the base is without the arm lora, which is said; one that has
    nothing to evaluate on is passed over.

    Args:
        settings: As `evaluate` takes them.
        store: Where base and adapters are and the runs go.
        base: URI of a base; None is the newest.
        part: Part of the split to evaluate on.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such base.
        DataError: The logs have changed, or no domain is left to evaluate.
    """
    chosen = choose_base(store, base, listen)
    uri = base if chosen.run is None else chosen.run
    info = chosen.base.info
    frame, source = info.data.read_again(info.split, paths)
    names = sorted(frame["domain"].unique().to_list())
    del frame
    tags = standard_tags(**chosen.tags, data_digest=source.digest, part=part)
    params = {**settings.flat(), "domains": ",".join(names), "part": part}
    recorded = store.run(
        f"evaluate-{len(names)}-domains",
        "evaluate-all",
        params=params,
        tags=tags,
        config=settings.model_dump(),
    )
    with recorded as run:
        run.log_inputs(read_logs(source, "evaluation"))
        found, pooled = EvaluatedDomains(part, run.uri), Pooled(settings, listen)
        for place, name in enumerate(names):
            listen.say(f"{name}: {place + 1} of {len(names)} domains.")
            adapter = None
            if "lora" in settings.evaluate.arms:
                own = choose_adapter(store, None, chosen.base, name, SILENT)
                adapter = None if own is not None else NO_ADAPTER
                if own is None and len(settings.evaluate.arms) == 1:
                    found.passed_over[name] = "it has no adapter on this base, and no other arm"
                    continue
            try:
                found.domains[name] = evaluate(
                    settings, name, store, uri, adapter, part, paths, listen, run.id, pooled
                )
            except (NotFoundError, DataError, TrainingError) as error:
                found.passed_over[name] = str(error)
                listen.say(f"Warning: {name} is passed over: {error}")
        if not found.domains:
            raise DataError(
                f"None of the {len(names)} domains could be evaluated, such as {names[0]!r}: "
                f"{found.passed_over[names[0]]}"
            )
        _compare(settings, found)
        run.log_json(TABLE, found.record())
        run.log_metrics(
            {
                f"{arm}_minus_base_{key}": interval.mean
                for arm, by_metric in found.means.items()
                for key, interval in by_metric.items()
            }
        )
    return found


def _compare(settings: Settings, found: EvaluatedDomains) -> None:
    results = {name: own.results for name, own in found.domains.items()}
    first = next(iter(results.values()))
    if "base" not in first:
        return
    keys = headline_keys(first["base"])
    resamples, confidence = settings.evaluate.bootstrap, settings.evaluate.confidence
    seed = settings.train.seed
    found.differences = compare_over_domains(
        results, "base", keys, resamples=resamples, seed=seed, confidence=confidence
    )
    found.means = mean_differences(
        results, "base", keys, resamples=resamples, seed=seed, confidence=confidence
    )
