"""The base and the adapters of a retraining: trained once, whatever is broken off and done again.

Every run of a retraining has its id as a tag, so that what was finished right before a crash, and
is not in the journal yet, is found in the store and not trained again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import (
    ArtifactError,
    ConfigError,
    LorarecError,
    NotFoundError,
    NothingNewError,
)
from lorarec.jobs.adapt_now import adapt_now
from lorarec.jobs.continuing import continue_adapter
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import find_adapter
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.rebase import rebase
from lorarec.pipeline.due import Due
from lorarec.pipeline.facts import CurrentBase, Lineage, current_base, lineage
from lorarec.pipeline.retry import passes
from lorarec.pipeline.state import BaseStep, DomainStep
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished
from lorarec.tracking.store import Store

ADAPT, CONTINUE, REBASE = "adapt", "continue", "rebase"
NOTHING_NEW = "has no train row that its adapter has not had"


@dataclass(frozen=True)
class Trained:
    """An adapter that a retraining made."""

    run: str
    """`runs:/<id>`."""
    digest: str
    how: str
    """`adapt`, `continue` or `rebase`."""
    bytes: int


def train_base(
    settings: Settings, store: Store, retrain: str, due: Due, before: CurrentBase | None,
    listen: Listener = SILENT,
) -> BaseStep:  # fmt: skip
    """Pretrain a base where it is due; where that fails, the one before is kept and that is told.

    Args:
        settings: As `pretrain` takes them.
        store: Whose runs have the tag of the retraining.
        retrain: Id of the retraining.
        due: Whether, and why.
        before: The base of now.
        listen: Takes words and progress.

    Raises:
        LorarecError: There was no base before, and none could be trained.
    """
    prepared = Path(settings.pipeline.prepared)
    if not due.due:
        assert before is not None
        return _step(due, before)
    made = current_base(store, prepared, SILENT, retrain)
    if made is not None and before is not None and made.uri == before.uri:
        return _step(due, made)  # one that another came after is none to go on with
    listen.say(f"Base: {due.reason}; pretraining.")
    started = time.monotonic()
    try:
        found = pretrain(settings, [prepared], store, listen=listen)
    except LorarecError as error:
        if before is None or passes(error):
            raise
        listen.say(f"Warning: no new base ({error}); {before.uri} is kept.")
        return _step(due, before, error=str(error))
    seconds = time.monotonic() - started
    return _step(due, CurrentBase(found.run, found.base.info, 0), seconds=seconds)


def _step(due: Due, base: CurrentBase, seconds: float = 0.0, error: str = "") -> BaseStep:
    return BaseStep(
        due=due.due,
        reason=due.reason,
        run=base.uri,
        digest=base.info.digest,
        learnt_to=base.info.split.t_valid,
        seconds=seconds,
        error=error,
    )


def train_domain(
    settings: Settings, store: Store, retrain: str, domain: str, base: CurrentBase,
    listen: Listener = SILENT,
) -> Trained | None:  # fmt: skip
    """Train the adapter of a domain, from the one that it goes on from where there is one.

    Args:
        settings: As `adapt` takes them.
        store: Whose runs have the tag of the retraining.
        retrain: Id of the retraining.
        domain: Its name.
        base: That it is trained on.
        listen: Takes words and progress.

    Returns:
        None where no train row is new, so that the adapter stays.

    Raises:
        LorarecError: It cannot be trained.
    """
    made = next(finished(store, ["adapt"], page=5, retrain=retrain, domain=domain), None)
    if made is not None:
        return of_run(store, made)
    parent = lineage(store, domain, base)
    if parent is None:
        adapted = adapt_now(settings, domain, store, base.uri, listen)
        return Trained(adapted.run, adapted.adapter.info.digest, ADAPT, adapted.stored)
    if not parent.on_base:
        return _rebased(settings, store, domain, base, parent, listen)
    try:
        went = continue_adapter(settings, domain, parent.named.name, store, base.uri, listen=listen)
    except NothingNewError:
        listen.say(f"{domain} {NOTHING_NEW}.")
        return None
    return Trained(went.run, went.adapter.info.digest, CONTINUE, went.stored)


def _rebased(
    settings: Settings, store: Store, domain: str, base: CurrentBase, parent: Lineage,
    listen: Listener,
) -> Trained:  # fmt: skip
    """The adapter brought to another base; begun anew there where it cannot be, as when its own
    base is gone."""
    try:
        done = rebase(settings, store, parent.named.name, base.uri, listen=listen).done[0]
    except (NotFoundError, ArtifactError, ConfigError) as error:
        listen.say(f"Warning: {domain} begins anew: {error}")
        adapted = adapt_now(settings, domain, store, base.uri, listen)
        return Trained(adapted.run, adapted.adapter.info.digest, ADAPT, adapted.stored)
    assert done.run is not None  # nothing is refused without a bound
    return Trained(done.run, done.adapter.info.digest, REBASE, done.stored)


def of_run(store: Store, run: RunInfo) -> Trained:
    """The adapter of a run that has ended.

    Raises:
        LorarecError: It cannot be read.
    """
    named = find_adapter(store, run.uri, None, SILENT)
    how = named.info.made_of.how if named.info.made_of else ADAPT
    return Trained(run.uri, named.info.digest, how, named.stored)


def trained(step: DomainStep, found: Trained, seconds: float) -> DomainStep:
    """A domain's step once its adapter is there."""
    return step.model_copy(
        update={
            "stage": "trained",
            "run": found.run,
            "digest": found.digest,
            "how": found.how,
            "bytes": found.bytes,
            "seconds": step.seconds + seconds,
        }
    )
