"""Whether a score means the same in every domain: how often it is a held-out item's, by domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError

Floats = npt.NDArray[np.float64]

STEPS = 101
"""Quantiles that are kept of each distribution: every hundredth, both ends included."""
BINS = 10


@dataclass(frozen=True)
class ScoreSample:
    """Scores of one arm in one domain, as quantiles.

    Attributes:
        held_out: float64 (101,): quantiles of the scores of held-out pairs, rising.
        drawn: float64 (101,): of as many pairs of the same users with items drawn evenly from the
            catalogue.
        pairs: How many pairs each is of.
    """

    held_out: Floats
    drawn: Floats
    pairs: int

    @classmethod
    def of(cls, held_out: npt.ArrayLike, drawn: npt.ArrayLike) -> ScoreSample:
        """The quantiles of scores.

        Args:
            held_out: (n,) scores of held-out pairs.
            drawn: (n,) scores of drawn pairs.

        Raises:
            DataError: There are none, not as many of both, or one is not finite.
        """
        own = [np.asarray(scores, dtype=np.float64) for scores in (held_out, drawn)]
        if own[0].shape != own[1].shape or not own[0].size:
            raise DataError(
                f"Scores have shapes {own[0].shape} and {own[1].shape}. Expected as many of drawn "
                f"pairs as of held-out ones, and at least one."
            )
        bad = [np.flatnonzero(~np.isfinite(scores)) for scores in own]
        if bad[0].size or bad[1].size:
            raise DataError(
                f"{bad[0].size + bad[1].size} scores are not finite, first: pairs "
                f"{np.concatenate(bad)[:5].tolist()}. Expected finite scores."
            )
        steps = np.linspace(0, 1, STEPS)
        return cls(np.quantile(own[0], steps), np.quantile(own[1], steps), len(own[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "held_out": self.held_out.tolist(),
            "drawn": self.drawn.tolist(),
            "pairs": self.pairs,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ScoreSample:
        """What `to_json` gave."""
        own = [np.asarray(value[name], dtype=np.float64) for name in ("held_out", "drawn")]
        return cls(own[0], own[1], int(value["pairs"]))


@dataclass(frozen=True)
class Calibration:
    """Domains beside each other on one axis of scores.

    Attributes:
        edges: float64 (b + 1,): bins of scores that hold as many pairs each, of all domains
            together, each domain weighing the same.
        rates: Domain → float64 (b,): of the domain's pairs in a bin the share that is held out,
            where held-out and drawn pairs are as many; NaN where it has less than a hundredth of
            its pairs there.
        pooled: float64 (b,): the same of all domains together.
        gaps: Domain → mean |rate - pooled rate|, each bin weighed by the domain's pairs in it:
            0 where a score means what it means on average, .5 at the most.
    """

    edges: Floats
    rates: dict[str, Floats]
    pooled: Floats
    gaps: dict[str, float]


def calibration(samples: Mapping[str, ScoreSample], bins: int = BINS) -> Calibration:
    """How far the same score is a different chance in different domains.

    Args:
        samples: By domain, of one arm.
        bins: Of scores, over all domains.

    Raises:
        DataError: There is no domain.
    """
    if not samples:
        raise DataError("There is no domain to calibrate. Expected scores of at least one.")
    everything = np.concatenate([part for s in samples.values() for part in (s.held_out, s.drawn)])
    edges = np.unique(np.quantile(everything, np.linspace(0, 1, bins + 1)))
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0]])
    positive = {name: _shares(s.held_out, edges) for name, s in samples.items()}
    negative = {name: _shares(s.drawn, edges) for name, s in samples.items()}
    pooled = _rate(sum(positive.values()), sum(negative.values()))
    rates, gaps = {}, {}
    for name in samples:
        mass = (positive[name] + negative[name]) / 2
        rate = _rate(positive[name], negative[name])
        some = mass > 0
        gaps[name] = float((np.abs(rate - pooled)[some] * mass[some]).sum())
        rates[name] = np.where(mass >= 0.01, rate, np.nan)
    return Calibration(edges, rates, pooled, gaps)


def _shares(quantiles: Floats, edges: Floats) -> Floats:
    """Share of a distribution in each bin, the last one closed; quantiles weigh the same each."""
    inner = np.searchsorted(np.sort(quantiles), edges[1:-1], side="left")
    counts: Floats = np.diff(np.concatenate([[0], inner, [len(quantiles)]])).astype(np.float64)
    return counts / len(quantiles)


def _rate(positive: Any, negative: Any) -> Floats:
    total = np.asarray(positive + negative, dtype=np.float64)
    rate: Floats = np.divide(positive, total, out=np.full_like(total, np.nan), where=total > 0)
    return rate
