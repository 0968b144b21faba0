"""A base trained by implicit: ALS or BPR over the rows, split and vocabularies of any other."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from lorarec.config import Settings
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, DivergedError, TrainingError
from lorarec.jobs.describing import described
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.logit_scale import fitting_scale
from lorarec.jobs.reading import SplitLogs
from lorarec.models.artefact import Base
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.implicit_model import from_implicit
from lorarec.models.importing.scaling import rescaled
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.loop import STOP_METRIC, History, Progress
from lorarec.training.validation import RankingValidation


class _Waited(Exception):  # noqa: N818 (no error)
    """No better for `patience` passes: the way out of implicit's loop."""


def train_implicit(
    settings: Settings,
    logs: SplitLogs,
    users: Vocabulary,
    items: Vocabulary,
    device: str,
    listen: Listener = SILENT,
) -> tuple[MatrixFactorization, History]:
    """Train implicit's ALS (Hu, Koren and Volinsky 2008) or BPR (Rendle et al. 2009) on split logs.

    All domains are one matrix of users and items. ALS takes the sum of a pair's weights, times
    alpha, as its confidence; BPR takes which pairs there are. Validation after each pass decides
    which is kept, and when ALS stops; BPR falls before it rises, so it has all its passes. implicit
    works on the CPU. ALS gives the same numbers on any number of threads, BPR on one alone, so that
    is what it has unless [train] threads says more.

    Returns:
        The model on the CPU, at the scale that adapters train best on, and what happened; what
        stands for epoch 0 was not measured.

    Raises:
        TrainingError: There is no train row of a weight above 0.
        DivergedError: The numbers are not finite.
    """
    train, valid = train_and_valid(logs.frame, users, items)
    domains = [d for d in train.domains if len(train.domain(d))]
    validation = RankingValidation(train, valid, domains, settings.train.seed)
    pairs = train.csr(weighted=True)
    pairs.eliminate_zeros()  # implicit would take a confidence of 0 for a dislike
    if not pairs.nnz:
        raise TrainingError(
            "All train rows have weight 0. Expected some above it; look at the column `weight` and "
            "at [data.events]."
        )
    if settings.model.name == "als":
        pairs.data *= settings.implicit.alpha
    keeper = _Keeper(settings, validation, domains, pairs.nnz, listen)
    listen.begin(settings.model.name, settings.train.epochs * pairs.nnz)
    with one_blas_thread():
        keeper.fit(_model(settings), pairs)
    assert keeper.best is not None
    best = keeper.best

    def made(scale: float) -> Base:
        model = rescaled(best, scale)
        info = described(settings, model, users, items, logs, {})
        return Base(model, users, items, info)

    scale = fitting_scale(settings, made, logs.frame, train, device, listen)
    return rescaled(best, scale), keeper.history


class _Keeper:
    """Validates after each pass and keeps the best."""

    def __init__(
        self,
        settings: Settings,
        validation: RankingValidation,
        domains: list[str],
        rows: int,
        listen: Listener,
    ) -> None:
        self.history = History(epochs=[{}])
        self.best: Factors | None = None
        self._settings, self._validation, self._domains = settings, validation, domains
        self._rows, self._listen = rows, listen
        self._waited, self._stops = 0, settings.model.name == "als"

    def fit(self, model: Any, pairs: Any) -> None:
        """Fit until the epochs are over or validation has not been better for long."""
        began = time.perf_counter()

        def after(_place: int, seconds: float, *_: Any) -> None:
            self._measure(model, seconds)

        try:
            model.fit(pairs, show_progress=False, callback=after)
        except _Waited:
            pass
        except DataError as error:
            raise DivergedError(
                f"{error} Training with implicit gave them; try a larger "
                f"--set implicit.regularization or a smaller --set implicit.learning_rate"
            ) from error
        self.history.seconds = time.perf_counter() - began

    def _measure(self, model: Any, seconds: float) -> None:
        factors = from_implicit(model)
        metrics = self._validation(dict.fromkeys(self._domains, rescaled(factors, 1.0)))
        self.history.epochs.append(metrics)
        epoch = len(self.history.epochs) - 1
        speed = self._rows / max(seconds, 1e-9)
        self._listen.step(Progress(epoch, self._rows, float("nan"), speed, metrics))
        # Without anything to validate on, the latest is the best there is.
        value = metrics.get(STOP_METRIC, float(epoch))
        if value > self.history.best:
            self.history.best, self.history.best_epoch = value, epoch
            self.best, self._waited = factors, 0
            return
        self._waited += 1
        if self._stops and self._waited >= self._settings.train.patience:
            raise _Waited


def _model(settings: Settings) -> Any:
    train, own = settings.train, settings.implicit
    if settings.model.name == "als":
        from implicit.cpu.als import AlternatingLeastSquares

        # alpha is in the matrix already.
        return AlternatingLeastSquares(
            factors=settings.model.dim,
            regularization=own.regularization,
            iterations=train.epochs,
            num_threads=train.threads or 0,
            random_state=train.seed,
        )
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    return BayesianPersonalizedRanking(
        factors=settings.model.dim,
        learning_rate=own.learning_rate,
        regularization=own.regularization,
        iterations=train.epochs,
        num_threads=train.threads or 1,
        random_state=train.seed,
    )


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """implicit runs its own threads, each of which calls BLAS: that has one, and no warning."""
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
