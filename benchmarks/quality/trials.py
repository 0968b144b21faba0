"""Trials of an arm, and models that rank as the peers do: shared by scripts of one data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import Arrays, Cache, say
from benchmarks.quality.protocols import CUT, RECALL, popularity
from lorarec.evaluation.evaluate import evaluate_ranking
from lorarec.evaluation.metrics import HeldOut
from lorarec.jobs.listener import Listener
from lorarec.jobs.ranking import Arena
from lorarec.jobs.scorer import Scorer

Array = np.ndarray[Any, Any]
DOMAIN = "all"
"""Of a data set that has one."""
COUNT = {"quick": 1, "default": 2, "full": 4}
"""Trials of each arm."""
WORDS = Listener(say=lambda text: say(f"  {text}"))


@dataclass(frozen=True)
class Ours:
    """A base as the peers are: users by items."""

    scorer: Scorer

    def matrix(self, users: pl.Series, items: pl.Series) -> Array:
        """Inner products and biases, float32 (users, items)."""
        vectors, bias, _ = self.scorer.item_vectors(items)
        found: Array = self.scorer.user_vectors(users)[0] @ vectors.T + bias
        return found


@dataclass(frozen=True)
class Popular:
    """The items' train rows, for every user alike."""

    arena: Arena

    def matrix(self, users: pl.Series, items: pl.Series) -> Array:
        """Counts, float32 (users, items)."""
        counts = popularity(self.arena)(users, items).astype(np.float32)
        return np.tile(counts, (len(users), 1))


def recall_of(ranked: Array, held: HeldOut) -> Array:
    """recall@20 of each user: hits ÷ held-out."""
    found = evaluate_ranking(ranked, held, [CUT], metrics=["recall"], resamples=1)
    values: Array = found.per_user[RECALL]
    return values


def chosen(
    cache: Cache, arm: str, trials: Sequence[Any], make: Callable[[Any], Arrays]
) -> tuple[int, Arrays]:
    """Try an arm and say how each trial validates.

    Args:
        cache: Keeps what is finished.
        arm: Its name.
        trials: What it is tried with.
        make: Returns a trial's `valid`, its `epochs` where there are any, and what else it has.

    Returns:
        The place of the trial that is best on validation, and what it made.
    """
    done = [
        cache.arm(f"{arm}-{place}", lambda trial=trial: make(trial), trial=trial)
        for place, trial in enumerate(trials)
    ]
    best = max(range(len(done)), key=lambda place: float(done[place]["valid"]))
    for place, found in enumerate(done):
        mark = ", chosen" if place == best else ""
        epochs = int(found.get("epochs", 0))
        after = f" after {epochs} epochs" if epochs else ""
        say(f"{arm} {trials[place]}: valid recall@20 {float(found['valid']):.4f}{after}{mark}")
    return best, done[best]
