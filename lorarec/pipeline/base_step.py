"""Which base a retraining's domains are adapted on, and what becomes of it when that moves."""

from __future__ import annotations

from pathlib import Path

from lorarec.config import Settings
from lorarec.data.prepared.dataset import open_dataset
from lorarec.errors import NotFoundError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.due import base_due
from lorarec.pipeline.facts import CurrentBase, base_facts, current_base
from lorarec.pipeline.state import BaseStep, Journal
from lorarec.pipeline.training import train_base
from lorarec.tracking.store import Store

UNDECIDED = ("due", "trained")
"""Stages of a domain that still needs the base."""


def settle(
    settings: Settings, store: Store, journal: Journal, forced: bool, listen: Listener = SILENT
) -> BaseStep:
    """Decide whether a base is due, and pretrain it where it is.

    Args:
        settings: `[pipeline]` has the thresholds.
        store: Whose runs have the tag of the retraining.
        journal: Of the retraining.
        forced: A new base is asked for.
        listen: Takes words and progress.

    Raises:
        LorarecError: There is no base, and none could be trained.
    """
    policy = settings.pipeline
    prepared = Path(policy.prepared)
    before = current_base(store, prepared, listen)
    facts = None
    if before is not None:
        dataset = open_dataset(prepared, trusting=True)
        facts = base_facts(dataset, before, policy.base_drift is not None)
    due = base_due(policy, facts, journal.at, forced)
    return train_base(settings, store, journal.id, due, before, listen)


def carried(journal: Journal, found: CurrentBase | None) -> BaseStep | None:
    """The base step of a retraining beside the newest base of now.

    Args:
        journal: Whose base is settled.
        found: The newest base; None where there is none any more.

    Returns:
        The step to go on with: that of the journal where the base is the same, or no domain needs
        it any more; with the new digest where ids were forgotten in it since. None where another
        base is the newest.
    """
    settled = journal.base
    assert settled is not None
    if found is None:
        return None
    if found.info.digest == settled.digest:
        return settled
    forgotten = found.info.forgotten_from
    if forgotten == settled.digest or (forgotten is not None and found.uri == settled.run):
        return settled.model_copy(update={"digest": found.info.digest})
    steps = (journal.domains or {}).values()
    if steps and not any(step.stage in UNDECIDED for step in steps):
        return settled
    return None


def there(found: CurrentBase | None, settled: BaseStep, store: Store) -> CurrentBase:
    """The newest base, once it is settled.

    Raises:
        NotFoundError: It was removed meanwhile.
    """
    if found is None:
        raise NotFoundError(
            f"The base {settled.run} is gone from {store.shown}. Expected it there; run again: "
            f"lorarec pipeline run"
        )
    return found
