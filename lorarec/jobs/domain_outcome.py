"""What one of many domains' adapters came to."""

from __future__ import annotations

from dataclasses import dataclass

from lorarec.jobs.adapt import Adapted
from lorarec.lora.config import recorded_rank


@dataclass(frozen=True)
class DomainOutcome:
    """What one domain's adapter came to; the adapter itself is in its run."""

    domain: str
    run: str
    """`runs:/<id>`, under the pass's run."""
    adapter_digest: str
    targets: str
    """With their ranks, such as `users:8,items:8,bias`."""
    rank: int | str | None
    """As its run's tag has it."""
    train_rows: int
    parameters: int
    parameters_factors: int
    parameters_grown: int
    parameters_full: int
    bytes_on_disk: int
    learning_rate: float
    best_epoch: int
    seconds: float
    untrained: dict[str, float]
    """Validation metrics of the frozen base in the same place."""
    metrics: dict[str, float]
    """Those of the adapter."""
    warnings: list[str]


def outcome_of(name: str, adapted: Adapted, rows: int) -> DomainOutcome:
    """Of a domain with so many train rows."""
    info, size = adapted.adapter.info, adapted.size
    return DomainOutcome(
        domain=name,
        run=adapted.run,
        adapter_digest=info.digest,
        targets=info.config.describe(),
        rank=recorded_rank(info.config),
        train_rows=rows,
        parameters=size.parameters,
        parameters_factors=size.factors,
        parameters_grown=size.grown,
        parameters_full=size.full,
        bytes_on_disk=adapted.stored,
        learning_rate=info.learning_rate,
        best_epoch=adapted.history.best_epoch,
        seconds=adapted.seconds,
        untrained=dict(adapted.untrained),
        metrics=dict(info.metrics),
        warnings=adapted.warnings,
    )
