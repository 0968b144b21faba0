"""What the gate decides by, measured: challenger, champion and rivals on the same users."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.evaluation.evaluate import ArmResult
from lorarec.evaluation.gate import BASE, CHALLENGER, CHAMPION, Verdict, decide
from lorarec.jobs.choose import Chosen
from lorarec.jobs.evaluate import evaluate_arms
from lorarec.jobs.listener import Listener
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter

LATENCY_USERS, WARM_UP = 200, 10
PERCENTILE = 95


@dataclass(frozen=True, eq=False)
class Contender:
    """An adapter, its own base, and its bytes on disk."""

    chosen: Chosen
    adapter: Adapter
    stored: int


@dataclass(frozen=True, eq=False)
class Judged:
    """A verdict and what it was decided by."""

    verdict: Verdict
    results: dict[str, ArmResult]
    users: pl.Series
    """Ids of the evaluated users."""
    source: DataSource
    """The logs."""
    latency: float | None
    """Milliseconds, the 95th percentile; None where no bound asks for it."""
    warning: str = ""
    """Why the champion may look better than it is; empty where nothing speaks for that."""


def judge(
    settings: Settings,
    domain: str,
    challenger: Contender,
    champion: Contender | None,
    paths: Sequence[Path],
    listen: Listener,
) -> Judged:
    """Rank the domain's catalogue for every held-out user with each arm, and decide.

    All arms rank the catalogue of the challenger's logs and split; a champion of another base
    does so with its own, and to a user that this one does not know it gives popular items.

    Args:
        settings: Its section `gate` is the policy.
        domain: Its name.
        challenger: What is asked for.
        champion: What serves now; None where it is the bare base.
        paths: Other logs than the challenger's base's, by choice.
        listen: Takes words.

    Raises:
        DataError: The logs are gone, have changed, or have no rows of the domain.
        NotFoundError: They have no rows of the part, or there is no such metric.
    """
    policy = settings.gate
    info = challenger.chosen.base.info
    frame, source = info.data.read_again(info.split, paths, domain=domain)
    arena = Arena.of(frame, domain)
    arena.held_out(policy.part)
    warning = ""
    if champion is not None:
        warning = _leak(champion.adapter.info.split, info.split, policy.part)
    if warning:
        listen.say(warning)
    at_cut = settings.with_options({"evaluate.k": str(policy.cut)})
    rivals = [rival for rival in policy.must_beat if rival not in (CHAMPION, BASE)]
    arms = [CHALLENGER, BASE, *rivals]
    models = {CHALLENGER: challenger.adapter, BASE: None}
    results, users = evaluate_arms(at_cut, arena, challenger.chosen, models, arms, policy.part)
    if champion is not None:
        own: dict[str, Adapter | None] = {CHAMPION: champion.adapter}
        results |= evaluate_arms(at_cut, arena, champion.chosen, own, [CHAMPION], policy.part)[0]
    latency = None
    if policy.max_latency is not None:
        latency = _latency(arena, challenger, users, policy.cut)
    verdict = decide(
        policy,
        results,
        size=challenger.stored,
        latency=latency,
        resamples=settings.evaluate.bootstrap,
        seed=settings.train.seed,
    )
    return Judged(verdict, results, users, source, latency, warning)


def _latency(arena: Arena, contender: Contender, users: pl.Series, k: int) -> float:
    """The 95th percentile, in milliseconds, of the users' vectors and searches, one at a time."""
    scorer = arena.scorer(contender.chosen.base, contender.adapter)
    index = arena.index(scorer)
    some = users[:LATENCY_USERS]
    seen = arena.seen(some, ("train",))
    took = []
    for place in [*range(min(WARM_UP, len(some))), *range(len(some))]:
        one, had = some[place : place + 1], seen[place]
        start = time.perf_counter()
        vectors, _ = scorer.user_vectors(one)
        index.search(vectors, k, had)
        took.append(1000 * (time.perf_counter() - start))
    return float(np.percentile(took[-len(some) :], PERCENTILE))


def _leak(champion: SplitRecord, ours: SplitRecord, part: str) -> str:
    """A word where the champion may have trained on what is held out here; else empty."""
    if champion == ours:
        return ""
    begins = {"valid": ours.t_valid, "test": ours.t_test}.get(part)
    if champion.t_valid is not None and begins is not None and champion.t_valid <= begins:
        return ""
    return (
        f"The champion was trained by another split ({champion.used}) and may have seen rows of "
        f"{part}: it may look better than it is, and the challenger worse beside it."
    )
