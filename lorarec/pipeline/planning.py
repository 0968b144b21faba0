"""Which domains a retraining adapts, in which order, and why the others are left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorarec.config import Settings
from lorarec.data.prepared.dataset import open_dataset
from lorarec.errors import NotFoundError, did_you_mean
from lorarec.pipeline.due import UNDECIDED, domain_due
from lorarec.pipeline.facts import CurrentBase, domain_facts, lineage
from lorarec.pipeline.state import DomainStep, in_turn
from lorarec.pipeline.training import of_run, trained
from lorarec.tracking.store import Store


def planned(
    settings: Settings,
    store: Store,
    base: CurrentBase,
    at: int,
    waited: dict[str, int],
    asked: Sequence[str] = (),
    forced: bool = False,
) -> tuple[dict[str, DomainStep], dict[str, str]]:
    """The plan of one retraining.

    Args:
        settings: `[pipeline]` has the thresholds, `[gate]` the part that decides.
        store: Where adapters are.
        base: That they are trained on.
        at: Moment of the retraining.
        waited: Domain → how often it was postponed; such come first.
        asked: These alone, due or not; none is all of the data set.
        forced: All that have a new row.

    Returns:
        A step for each domain that is due, in the order of their turn; and each other domain with
        the reason.

    Raises:
        NotFoundError: The data set does not have a domain that is asked for.
    """
    dataset = open_dataset(Path(settings.pipeline.prepared), trusting=True)
    names = sorted(dataset.domain_rows())
    for name in asked:
        if name not in names:
            raise NotFoundError(
                f"There is no domain {name!r} in the data set.{did_you_mean(name, names)} Expected "
                f"one of it: --domain NAME"
            )
    adapters = {name: lineage(store, name, base) for name in asked or names}
    steps: dict[str, DomainStep] = {}
    idle: dict[str, str] = {}
    least = settings.data.min_domain_rows
    for name, facts in domain_facts(dataset, adapters, settings.gate.part).items():
        found = domain_due(settings.pipeline, facts, at, least, forced or name in asked)
        if not found.due:
            idle[name] = found.reason
            continue
        step = DomainStep(
            stage="due",
            reason=found.reason,
            overdue=found.overdue,
            drift=facts.drift,
            new_rows=facts.new_rows,
        )
        own = adapters[name]
        if found.reason == UNDECIDED and own is not None and own.named.run is not None:
            step = trained(step, of_run(store, own.named.run), 0.0)  # the gate alone is left
        steps[name] = step
    return in_turn(steps, waited), idle
