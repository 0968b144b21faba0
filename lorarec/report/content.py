"""What a report holds, as plain values; who reads them from where is the jobs' matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lorarec.data.describe import Description
from lorarec.evaluation.calibration import ScoreSample
from lorarec.evaluation.rank_curve import RankCurve

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One domain, evaluated."""

    domain: str
    part: str
    run: str
    """`runs:/<id>`."""
    arms: Mapping[str, Mapping[str, Any]]
    """As `ArmResult.to_json` wrote them."""
    minus_base: Mapping[str, Mapping[str, Mapping[str, float]]]
    """By arm and metric key: `mean`, `low`, `high`, `p_value`."""
    drift: Mapping[str, float]
    """As `Drift.to_json` wrote it; empty of an evaluation without."""
    gains: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    """By arm and metric key: (m,) each user's value minus the frozen base's."""
    scores: Mapping[str, ScoreSample] = field(default_factory=dict)
    """By arm."""

    @property
    def cuts(self) -> list[int]:
        """All k of its metrics, rising."""
        found = {
            int(key.rpartition("_")[2])
            for arm in self.arms.values()
            for key in arm["metrics"]
            if key.startswith("recall_at_")
        }
        return sorted(found)


@dataclass(frozen=True)
class Cost:
    """What one adapter holds."""

    domain: str
    run: str
    rank: str
    parameters: int
    full: int
    """Of full fine-tuning of the same rows."""
    stored: int
    """Bytes on disk."""
    recall: float | None
    """Validation recall@20."""


@dataclass(frozen=True)
class Training:
    """How one training went."""

    name: str
    """`base`, or the adapter's domain."""
    run: str
    loss: Sequence[tuple[int, float]]
    """Epoch and mean loss of its rows."""
    recall: Sequence[tuple[int, float]]
    """Epoch and validation recall@20."""
    best: int | None
    """The epoch that was kept."""


@dataclass(frozen=True)
class Likeness:
    """How alike adapters of one base are in one part."""

    part: str
    names: Sequence[str]
    distance: Floats
    """(n, n): mean |δ_a - δ_b| / (mean |δ_a| + mean |δ_b|), from 0, the same, to 1, nothing in
    common or opposite; NaN where neither moves it."""


@dataclass(frozen=True)
class Listed:
    """One user's items, before and after."""

    domain: str
    user: str
    why: str
    """Why this user is shown."""
    had: Sequence[str]
    """Titles of what they had in train, the last first."""
    held_out: Sequence[str]
    """Titles of what was held out."""
    before: Sequence[tuple[str, bool]]
    """The frozen base's list: title, and whether it was held out."""
    after: Sequence[tuple[str, bool]]
    """The adapter's."""


@dataclass(frozen=True)
class Content:
    """All of a report."""

    made: str
    """When, for people."""
    facts: Sequence[tuple[str, str]]
    """Name and value: base, logs, split."""
    k: int
    """The cut that tables show."""
    evaluations: Sequence[Evaluation]
    """By domain, sorted."""
    holm: Sequence[Mapping[str, Any]] = ()
    """As `DomainDifference.to_json` wrote them, of all metrics."""
    logs: Description | None = None
    curves: Sequence[RankCurve] = ()
    costs: Sequence[Cost] = ()
    trainings: Sequence[Training] = ()
    likeness: Sequence[Likeness] = ()
    lists: Sequence[Listed] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    """Section → why it is empty, where more is known than that it is."""
