"""How large an imported model's scores should be for adapters to train well on top of it.

A model of another loss ranks by scores of any size: ALS approximates 0 and 1, so the softmax that
adapters train with is nearly flat; BPR can be so sure of its train rows that there is no gradient
left. Multiplying all scores by one number changes no ranking and decides how adapters begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch.nn import functional

from lorarec.config import Settings
from lorarec.data.interactions import Interactions
from lorarec.errors import TrainingError
from lorarec.jobs.domain import domain_data
from lorarec.jobs.listener import Listener
from lorarec.jobs.search import search
from lorarec.lora.config import lora_config
from lorarec.models.artefact import Base
from lorarec.training.loop import STOP_METRIC

SHARES = (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 256)
"""Of the likeliest scale; these are tried in turn, until one is worse than the best."""
TRIAL_ROWS = 50_000
"""The trial is on the domain of median size among those of at most so many train rows."""
SAMPLE = 2000
"""Train rows of each domain that the likelihood is measured on, at most."""
SCORES = 2**24
"""Scores held at once, at most; a large catalogue gets fewer rows."""
LIMIT = 20
"""Powers of two, up and down, that are looked at."""
GAIN = 0.01
"""Nats a row over a uniform guess: with less, scores say nothing of the train rows."""


@dataclass(frozen=True)
class Likeliest:
    """The scale under which a softmax over the catalogue explains the train rows best."""

    scale: float
    """A power of two."""
    gain: float
    """Nats a row over scores that are all alike."""


def likeliest(base: Base, train: Interactions, seed: int = 0) -> Likeliest:
    """Temperature scaling (Guo et al. 2017) to powers of two, on a sample of the train rows.

    The likelihood is log-concave in the scale, so the search climbs until it is worse.

    Args:
        base: Its item bias is scaled too.
        train: Rows over the base's vocabularies.
        seed: Of the sample.
    """
    rng = np.random.default_rng(seed)
    blocks = []
    with torch.no_grad():
        for domain in train.domains:
            rows = train.domain(domain)
            if not len(rows):
                continue
            catalogue = np.unique(rows.item)
            count = max(1, min(SAMPLE, SCORES // len(catalogue), len(rows)))
            places = rng.choice(len(rows), count, replace=False)
            items = torch.from_numpy(catalogue)
            users = base.model.user_vectors(torch.from_numpy(rows.user[places]))
            logits = users @ base.model.item_vectors(items).T
            bias = base.model.item_bias(items)
            logits = logits if bias is None else logits + bias
            blocks.append((logits, torch.from_numpy(np.searchsorted(catalogue, rows.item[places]))))

    def loss(power: int) -> float:
        found = [functional.cross_entropy(z * 2.0**power, own) for z, own in blocks]
        return float(torch.stack(found).mean())

    power, best = 0, loss(0)
    for step in (1, -1):
        while abs(power + step) <= LIMIT and (found := loss(power + step)) < best:
            power, best = power + step, found
    uniform = float(np.mean([math.log(z.shape[1]) for z, _ in blocks]))
    return Likeliest(2.0**power, uniform - best)


def fitting_scale(
    settings: Settings,
    rescaled: Callable[[float], Base],
    frame: pl.DataFrame,
    train: Interactions,
    device: str,
    listen: Listener,
) -> float:
    """The power of two under which a trial adapter of one domain validates best.

    Args:
        settings: Its section `adapt` says how a trial is trained; one step size is enough.
        rescaled: The base with its scores multiplied by a number.
        frame: Split logs.
        train: Train rows over the base's vocabularies.
        device: Where the trials train.
        listen: Takes words and progress.

    Returns:
        The scale; 1 where there is nothing to validate on.
    """
    seed = settings.train.seed
    base = rescaled(1.0)
    found = likeliest(base, train, seed)
    if found.gain < GAIN:
        listen.say(
            "Warning: the imported scores say nothing of the train rows. Are the ids in the order "
            "of the matrices' rows?"
        )
        return 1.0
    domain = trial_domain(frame)
    if domain is None:
        listen.say("No domain has validation rows: scores keep the scale they have.")
        return 1.0
    dim = base.model.dim
    config = lora_config(min(settings.adapt.single_rank, dim), dim, seed=seed)
    single = settings.with_options({"adapt.learning_rate_grid": [1.0]})
    quiet = Listener(begin=listen.begin, step=listen.step)
    tried: dict[float, float] = {}
    for scale in (found.scale * share for share in SHARES):
        one = rescaled(scale)
        data = domain_data(one, frame, domain)
        try:
            trial = search(single, config, one, data, device, quiet)
        except TrainingError:
            continue
        tried[scale] = trial.metrics.get(STOP_METRIC, 0.0)
        if tried[scale] < max(tried.values()):
            break
    if not tried:
        return found.scale
    # Where no trial was better than the base, the scale that explains the train rows best.
    best = max(tried, key=lambda scale: (tried[scale], scale))
    listed = ", ".join(f"{scale:g} → {value:.4f}" for scale, value in tried.items())
    listen.say(
        f"Scores are multiplied by {best:g}, which changes no ranking, so that adapters train "
        f"well: validation nDCG of an adapter of {domain} by scale: {listed}."
    )
    return best


def trial_domain(frame: pl.DataFrame) -> str | None:
    """The domain that the trial is on.

    Large domains bear sharper scores than small ones do, so it is one of the middle.

    Returns:
        The median by train rows of those that have validation rows and at most `TRIAL_ROWS` train
        rows; where all have more, the smallest; None where no domain has both parts.
    """
    counts = frame.group_by("domain").agg(
        train=(pl.col("split") == "train").sum(), valid=(pl.col("split") == "valid").sum()
    )
    rows = counts.filter((pl.col("train") > 0) & (pl.col("valid") > 0)).sort("train", "domain")
    if rows.is_empty():
        return None
    fitting = rows.filter(pl.col("train") <= TRIAL_ROWS)
    return str(fitting["domain"][len(fitting) // 2] if len(fitting) else rows["domain"][0])
