"""What is recorded of a base that was just made of split logs."""

from __future__ import annotations

from lorarec.config import Settings
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.reading import SplitLogs
from lorarec.models.artefact import BaseInfo, library_versions, weights_digest
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TwoTower
from lorarec.storage import sha256_bytes
from lorarec.tracking.runs import Run
from lorarec.training.loop import History


def log_history(run: Run, history: History) -> None:
    """A training's curve by epoch, and behind it, as each metric's last value, what was kept."""
    for epoch, metrics in enumerate(history.epochs):
        run.log_metrics(metrics, step=epoch)
    run.log_metrics({"train_seconds": history.seconds, "best_epoch": history.best_epoch})
    run.log_metrics(history.epochs[history.best_epoch], step=len(history.epochs))


def described(
    settings: Settings,
    model: MatrixFactorization | TwoTower,
    users: Vocabulary,
    items: Vocabulary,
    logs: SplitLogs,
    metrics: dict[str, float],
) -> BaseInfo:
    """All that is known of a base, ready to be saved with it.

    Args:
        settings: Has the seed.
        model: On the CPU.
        users: Of its rows.
        items: Of its rows.
        logs: What it was made of.
        metrics: Of validation.
    """
    return BaseInfo(
        model="two-tower" if isinstance(model, TwoTower) else "mf",
        tower=model.config if isinstance(model, TwoTower) else None,
        dim=model.dim,
        similarity=model.similarity,
        temperature=model.temperature,
        bias=model.bias is not None,
        digest=weights_digest(model),
        weights_digest=sha256_bytes(),
        users=len(users),
        items=len(items),
        user_vocabulary=users.digest(),
        item_vocabulary=items.digest(),
        domains=logs.frame["domain"].unique().sort().to_list(),
        excluded_domains=list(logs.excluded),
        data=logs.source.model_copy(update={"split": None}),  # it stands below
        split=logs.split,
        seed=settings.train.seed,
        metrics=metrics,
        versions=library_versions(),
    )
