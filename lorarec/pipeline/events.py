"""Rows of the history as Dagster's events, so that its page shows what every retraining did.

A retraining that Dagster runs yields them itself. One that `lorarec pipeline run` or a scheduler
ran has no orchestrator beside it: its rows are brought to Dagster's store afterwards.
"""

# Without `from __future__ import annotations`: Dagster reads the type of a step's context.

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from lorarec.config import Settings
from lorarec.pipeline import history
from lorarec.pipeline.history import IDLE, Row
from lorarec.pipeline.lock import is_held
from lorarec.pipeline.telling import SERVES
from lorarec.tracking.champions import PROMOTE

LOGS, BASE, ADAPTER, EVALUATION = "logs", "base", "adapter", "evaluation"
"""The assets, each made of the one before; the last two are partitioned by domain."""
GATE = "gate"
"""The check of `evaluation`."""
DOMAINS = "domain"
"""Name of the partitions."""
RETRAIN = "retraining"
"""The entry of an event that says whose it is."""
NEWEST = 20
"""Retrainings of the history that are brought over."""
PAGE = 500
_ENDED_WELL = [dg.DagsterRunStatus.SUCCESS]

SILENTLY = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Settings of a run in this process whose events do not go to the terminal, too."""

Event: TypeAlias = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


def events(row: Row, metric: str) -> Iterator[Event]:
    """What a row says, for the partition of its domain.

    An adapter that was trained is a materialization of `adapter`. What the gate said is one of
    `evaluation`, and an evaluation of its check: passed where the challenger was promoted. What
    failed or was postponed is an observation, as nothing was made. A domain that was not due has
    none.

    Args:
        row: Of the history.
        metric: What the gate compares, such as `recall@20`.
    """
    if row.verdict == IDLE:
        return
    common: dict[str, Any] = {
        RETRAIN: row.retrain,
        "at": dg.MetadataValue.timestamp(float(row.at)),
        "why": row.reason,
    }
    if row.bytes is not None:
        trained = {"bytes": row.bytes, "seconds": row.seconds, "drift": row.drift,
                   "new rows": row.rows, "base": row.base}  # fmt: skip
        yield dg.AssetMaterialization(
            ADAPTER, partition=row.domain, metadata={**common, **_there(trained)}
        )
    measured = {
        "verdict": row.verdict,
        f"recall@{metric.partition('@')[2]}": row.recall,
        "coverage": row.coverage,
        "serves": "the base" if row.version is None else f"version {row.version}",
        "days behind": row.fresh_days,
    }
    said = {**common, **_there(measured)}
    if row.verdict not in SERVES:
        yield dg.AssetObservation(EVALUATION, partition=row.domain, metadata=said)
        return
    yield dg.AssetMaterialization(EVALUATION, partition=row.domain, metadata=said)
    yield dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(EVALUATION),
        check_name=GATE,
        passed=row.verdict == PROMOTE,
        partition=row.domain,
        severity=dg.AssetCheckSeverity.WARN,  # what served goes on serving: nothing is broken
        description=f"{row.domain}: {row.verdict} by {metric}",
        metadata=said,
    )


def _there(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def add_domains(instance: dg.DagsterInstance, rows: list[Row]) -> None:
    """Let there be a partition for each domain."""
    instance.add_dynamic_partitions(DOMAINS, sorted({row.domain for row in rows}))


@contextmanager
def opened(home: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's store in a folder, as its `dagster.yaml` says."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def bring_over(settings: Settings, instance: dg.DagsterInstance) -> int | None:
    """Bring the newest retrainings of the history to Dagster's store, each once.

    While a retraining is at work nothing is brought over: if Dagster runs it, it tells of itself.

    Args:
        settings: `[pipeline] work` says where the history is.
        instance: Dagster's store.

    Returns:
        How many retrainings were brought over; None where one is at work.

    Raises:
        ArtifactError: The history was edited or damaged.
    """
    work = Path(settings.pipeline.work)
    if is_held(work):
        return None
    rows = history.read(work)
    if not rows:
        return 0
    add_domains(instance, rows)
    # One in which nothing was due has no events, so nothing of it can be brought over.
    newest = list(dict.fromkeys(row.retrain for row in rows if row.verdict != IDLE))[-NEWEST:]
    known = _known(instance, set(newest))
    missing = [name for name in newest if name not in known]
    for name in missing:
        _tell(instance, [row for row in rows if row.retrain == name], settings.gate.metric)
    return len(missing)


def _tell(instance: dg.DagsterInstance, rows: list[Row], metric: str) -> None:
    """The events of one retraining as a run of its own: without a run Dagster's store takes one
    evaluation of a check and partition alone."""

    @dg.op(name="tell")
    def tell(context: dg.OpExecutionContext) -> None:
        for row in rows:
            for event in events(row, metric):
                context.log_event(event)  # type: ignore[arg-type] # a check's, too; not declared

    @dg.job(name="history", description="What a retraining did that Dagster did not run")
    def past() -> None:
        tell()

    tags = {RETRAIN: rows[0].retrain}
    past.execute_in_process(instance=instance, run_config=SILENTLY, tags=tags)


def _known(instance: dg.DagsterInstance, wanted: set[str]) -> set[str]:
    """Which of these retrainings have events already."""
    # What was brought over is known by its run's tag; only the others are looked for in the log.
    found = {
        name
        for name in wanted
        if instance.get_runs(dg.RunsFilter(tags={RETRAIN: name}, statuses=_ENDED_WELL), limit=1)
    }
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        cursor = None
        while not wanted <= found:
            answer = fetch(dg.AssetKey(EVALUATION), limit=PAGE, cursor=cursor)
            for record in answer.records:
                event = record.asset_materialization or record.asset_observation
                if event is not None and RETRAIN in event.metadata:
                    found.add(str(event.metadata[RETRAIN].value))
            if not answer.has_more:
                break
            cursor = answer.cursor
    return found & wanted
