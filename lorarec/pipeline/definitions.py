"""The retraining as Dagster's assets: logs → base → adapter → evaluation, by domain from `adapter`.

The steps are those of `retrain`, and so are journal, lock and history: what one of them has done
the other does not do again. `adapter` and `evaluation` come of one step, which takes the domains
one after the other to the gate, so that one that fails stops no other. The gate is the check of
`evaluation`; its verdict is that of the step, never computed here.

Nothing but this file and `events.py` imports Dagster: `pip install 'lorarec[pipelines]'`.
"""

# Without `from __future__ import annotations`: Dagster reads the type of a step's context.

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import dagster as dg

from lorarec.config import Settings, load_settings
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.events import (
    ADAPTER,
    BASE,
    DOMAINS,
    EVALUATION,
    GATE,
    LOGS,
    RETRAIN,
    SILENTLY,
    Event,
    add_domains,
    events,
)
from lorarec.pipeline.retrain import Ask, Flow, at_work
from lorarec.pipeline.retry import Patience, passes
from lorarec.tracking.store import Store, open_store

T = TypeVar("T")
JOB = "retrain"
FLOW = "flow"
"""The resource that holds the work folder for the length of a run."""


def definitions(
    settings: Settings | Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    ask: Ask | None = None,
    clock: Callable[[], float] = time.time,
) -> dg.Definitions:
    """Everything that Dagster needs, for the variable of a `definitions.py`.

    Args:
        settings: The settings, or the file of them; None reads lorarec.toml of the working
            directory.
        environ: Environment variables over a file; None is the process's own.
        ask: What else is asked for, each time.
        clock: The moment of a retraining, in seconds since 1970.

    Returns:
        Four assets, the check `gate`, the job `retrain`, and where `[pipeline] cron` is set its
        schedule, in UTC; turn it on in Dagster, and have nothing else start the retraining then.

    Raises:
        ConfigError: A setting is wrong.
    """
    if not isinstance(settings, Settings):
        settings = load_settings(None if settings is None else Path(settings), environ)
    cron = settings.pipeline.cron
    job = dg.define_asset_job(JOB, [LOGS, BASE, ADAPTER, EVALUATION])
    schedules = [] if cron is None else [
        dg.ScheduleDefinition(job=job, cron_schedule=cron, execution_timezone="UTC")
    ]  # fmt: skip
    return dg.Definitions(
        assets=[logs, base, _domains()],
        jobs=[job],
        schedules=schedules,
        resources={FLOW: _flow(settings, ask, clock)},
        # One process a run: the lock is its own from the first step to the last.
        executor=dg.in_process_executor,
    )


def run_in_process(
    found: dg.Definitions, instance: dg.DagsterInstance, domain: str | None = None
) -> dg.ExecuteInProcessResult:
    """Run the retraining here and now, with no server.

    Args:
        found: As `definitions` made them.
        instance: Dagster's store, such as `DagsterInstance.ephemeral()`.
        domain: This one alone, due or not; its partition must be there.

    Raises:
        Exception: What the run ended with.
    """
    job = found.resolve_job_def(JOB)
    return job.execute_in_process(instance=instance, partition_key=domain, run_config=SILENTLY)


def _flow(settings: Settings, ask: Ask | None, clock: Callable[[], float]) -> dg.ResourceDefinition:
    def held(context: dg.InitResourceContext) -> Iterator[Flow]:
        say = context.log.info if context.log else SILENT.say

        def store() -> Store:
            return open_store(settings.tracking)

        with at_work(settings, store, int(clock()), ask, Listener(say=say)) as flow:
            yield flow

    return dg.ResourceDefinition(held, description="The retraining at work")


def _tried(context: dg.AssetExecutionContext, do: Callable[[], T]) -> T:
    """What a step gives; what may pass is tried again by Dagster, and nothing else is."""
    flow: Flow = getattr(context.resources, FLOW)
    patience: Patience = flow.patience
    try:
        return do()
    except Exception as error:
        attempt = context.retry_number + 1
        if passes(error) and attempt < patience.attempts:
            raise dg.RetryRequested(patience.attempts - 1, patience.wait(attempt)) from error
        flow.broken(error)
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.asset(name=LOGS, required_resource_keys={FLOW})
def logs(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """New logs, taken into the prepared data set."""
    flow: Flow = getattr(context.resources, FLOW)
    taken = _tried(context, flow.take_logs)
    return dg.MaterializeResult(
        metadata={
            RETRAIN: flow.journal.id,
            "rows": taken.rows,
            "new rows": taken.added,
            "digest": taken.digest,
            "files that were not taken": taken.refused,
        }
    )


@dg.asset(name=BASE, deps=[LOGS], required_resource_keys={FLOW})
def base(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """The base that adapters are trained on: a new one where it is due, else the one there is."""
    flow: Flow = getattr(context.resources, FLOW)
    _tried(context, flow.take_logs)
    settled = _tried(context, flow.take_base)
    return dg.MaterializeResult(
        metadata={
            RETRAIN: flow.journal.id,
            "pretrained": settled.due and not settled.error,
            "why": settled.error or settled.reason,
            "run": settled.run,
            "digest": settled.digest,
            "seconds": settled.seconds,
        }
    )


def _domains() -> dg.AssetsDefinition:
    domains = dg.DynamicPartitionsDefinition(name=DOMAINS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # of a check that has partitions
        check = dg.AssetCheckSpec(
            GATE,
            asset=EVALUATION,
            partitions_def=domains,
            description="Whether the domain's new adapter was let through to serve",
        )

    @dg.multi_asset(
        name="domains",
        specs=[
            dg.AssetSpec(
                ADAPTER, deps=[BASE], skippable=True, description="The domain's newest adapter"
            ),
            dg.AssetSpec(
                EVALUATION,
                deps=[ADAPTER],
                skippable=True,
                description="What the gate found: the new adapter beside what serves",
            ),
        ],
        check_specs=[check],
        partitions_def=domains,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # Which domains have events is known once they are due: none is promised beforehand.
        can_subset=True,
        required_resource_keys={FLOW},
    )
    def of_domains(context: dg.AssetExecutionContext) -> Iterator[Event]:
        flow: Flow = getattr(context.resources, FLOW)
        if context.has_partition_key or context.has_partition_key_range:
            flow.ask = replace(flow.ask, domains=tuple(context.partition_keys))
        _tried(context, flow.take_logs)
        _tried(context, flow.take_base)
        # Its own steps are tried again within, domain by domain.
        found = flow.rest()
        add_domains(context.instance, found.rows)
        for row in found.rows:
            yield from events(row, flow.settings.gate.metric)
        if found.left_undone:
            told = "; ".join(f"{what}: {why}" for what, why in found.left_undone.items())
            raise dg.Failure(f"Left undone: {told}", allow_retries=False)

    return of_domains
