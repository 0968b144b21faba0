"""How long until a model ranks as well as the best BPR of `implicit` does, on Gowalla.

Both are trained on the same nine tenths of Gowalla's train rows and measured by recall@20 on the
same users of the drawn tenth, on one thread; the times are the processor's. implicit's own are
those of its epochs alone, without measuring; ours hold everything: where the tables begin, the
epochs, and validation after each. implicit's settings are the best of `TRIALS` on that tenth.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import polars as pl

from benchmarks.common import Measures, say, table
from benchmarks.quality.gowalla import Bench, open_bench
from lorarec.data.interactions import Interactions
from lorarec.data.logs import load_logs
from lorarec.jobs.base_training import train_base
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.implicit_base import one_blas_thread
from lorarec.jobs.listener import Listener
from lorarec.jobs.reading import trained_ids
from lorarec.models.importing.implicit_model import from_implicit
from lorarec.models.importing.scaling import rescaled
from lorarec.training.loop import Progress
from lorarec.training.validation import RankingValidation

Curve = list[tuple[float, float]]
"""Seconds since the start, and recall@20, after each epoch."""
RECALL = "valid_recall_at_20"
NAME = "seconds_to_bpr_quality_vs_implicit"
TRIALS = [(0.02, 0.003, 100), (0.05, 0.001, 100), (0.02, 0.01, 200)]
"""Step size, regularization and epochs of implicit's BPR."""
QUICK = [(0.05, 0.01, 2)]


class Reached(Exception):  # noqa: N818 (no error)
    """The recall that was to be reached is."""


def bpr_curve(
    train: Interactions, validation: RankingValidation, domain: str, trial: tuple[float, float, int]
) -> Curve:
    """implicit's BPR, epoch by epoch."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    rate, regularization, epochs = trial
    curve: Curve = []
    with one_blas_thread():
        model = BayesianPersonalizedRanking(
            factors=64,
            learning_rate=rate,
            regularization=regularization,
            iterations=epochs,
            num_threads=1,
            random_state=0,
        )
        spent, since = 0.0, time.process_time()

        def after(*_: object) -> None:
            nonlocal spent, since
            spent += time.process_time() - since
            if len(curve) % 5 == 4 or len(curve) + 1 == epochs:
                measured = validation({domain: rescaled(from_implicit(model), 1.0)})[RECALL]
            else:  # measuring takes longer than an epoch does, so most are passed over
                measured = 0.0
            curve.append((spent, measured))
            since = time.process_time()

        model.fit(train.csr(), show_progress=False, callback=after)
    return curve


def own_curve(bench: Bench, frame: pl.DataFrame, target: float) -> Curve:
    """Our matrix factorization at the settings of `gowalla.py`, until it has reached a recall."""
    users, items = trained_ids(frame)
    curve: Curve = []
    started = time.process_time()

    def step(progress: Progress) -> None:
        if (metrics := progress.metrics or {}).get(RECALL) is not None:
            curve.append((time.process_time() - started, metrics[RECALL]))
            if curve[-1][1] >= target:
                raise Reached

    settings = bench.settings.with_options({"model.temperature": 0.1, "train.threads": 1})
    with suppress(Reached):
        train_base(settings, frame, users, items, "cpu", Listener(step=step))
    return curve


def time_to_quality(work: Path, quick: bool, measures: Measures) -> None:
    """Train both, print a table and add the measure."""
    bench = open_bench(work, "quick" if quick else "default")
    frame = load_logs(bench.choosing.logs)
    train, valid = train_and_valid(frame, *trained_ids(frame))
    (domain,) = train.domains
    validation = RankingValidation(train, valid, [domain], 0)
    best: tuple[float, float, tuple[float, float, int]] | None = None
    for trial in QUICK if quick else TRIALS:
        curve = bpr_curve(train, validation, domain, trial)
        seconds, recall = max(curve, key=lambda point: point[1])
        say(f"BPR of implicit {trial}: recall@20 {recall:.4f} after {seconds:.1f} s")
        if best is None or recall > best[1]:
            best = (seconds, recall, trial)
    assert best is not None
    seconds, recall, trial = best
    ours = own_curve(bench, frame, recall)
    reached, ended = ours[-1][1] >= recall, ours[-1][0]
    table(
        f"Gowalla, one thread, processor's seconds until recall@20 is {recall:.4f}",
        ["model", "seconds", "epochs", "recall@20"],
        [
            (f"BPR of implicit {trial}", round(seconds, 1), trial[2], recall),
            ("lorarec, matrix factorization", round(ended, 1), len(ours), ours[-1][1]),
        ],
    )
    if not reached:
        measures.leave_out(NAME, f"ours ended at {ours[-1][1]:.4f} after {ended:.1f} s")
        return
    ratio = seconds / max(ended, 1e-3)
    measures.add(NAME, ratio, "ratio", "BPR of implicit", ratio)
