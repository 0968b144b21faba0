"""Scores of a domain's held-out pairs beside scores of drawn ones, for calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lorarec.evaluation.calibration import ScoreSample
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter
from lorarec.models.artefact import Base

SCORED = ("base", "lora")
"""Arms whose scores are of one kind in every domain, so that they can be held side by side."""
MOST = 20_000
"""Held-out pairs that are scored at most."""


def score_samples(
    arena: Arena,
    base: Base,
    models: dict[str, Adapter | None],
    arms: Sequence[str],
    part: str,
    seed: int,
) -> dict[str, ScoreSample]:
    """Scores by arm, of `SCORED` those that are asked for.

    Pairs are of train users of the domain and items of its catalogue. Every arm scores the same
    ones. Empty where nothing that is held out is of both.

    Args:
        arena: The domain.
        base: The base.
        models: Adapters by arm; None is the bare base.
        arms: Arms that are evaluated.
        part: Part of the split.
        seed: Of the draws.
    """
    pairs = arena.frame.filter(
        (pl.col("split") == part)
        & pl.col("user_id").is_in(arena.members.implode())
        & pl.col("item_id").is_in(arena.catalogue.series.implode())
    ).select("user_id", "item_id")
    pairs = pairs.unique().sort("user_id", "item_id")
    if not pairs.height:
        return {}
    rng = np.random.default_rng(seed)
    if pairs.height > MOST:
        pairs = pairs[np.sort(rng.choice(pairs.height, MOST, replace=False))]
    drawn = arena.catalogue.series.gather(rng.integers(len(arena.catalogue), size=pairs.height))
    found = {}
    for arm in (arm for arm in SCORED if arm in arms):
        scorer = arena.scorer(base, models.get(arm))
        users = pairs["user_id"]
        found[arm] = ScoreSample.of(
            scorer.score(users, pairs["item_id"]), scorer.score(users, drawn)
        )
    return found
