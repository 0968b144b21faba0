"""What is due, and why: facts and thresholds in, reasons out.

Ages are counted from the retraining's own moment. A moment of training that lies after it says that
a clock went back in between. That is no age: what was trained then is due once, `trained later than
now`, and is dated by the new clock afterwards, so a clock that jumps makes nothing due for ever and
nothing due never. A clock that jumped ahead and came back is the same case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorarec.config.pipeline import Pipeline

DAY = 86_400
TOLERANCE = 3600
"""Seconds that clocks of several machines may differ by."""


@dataclass(frozen=True)
class BaseFacts:
    """The base that adapters are trained on now."""

    trained_at: int
    """Seconds since 1970."""
    new_rows: int
    """Rows of the data set that it has not had."""
    drift: float | None = None
    """Of those from what it had, in bits above chance; None where not measured."""


@dataclass(frozen=True)
class DomainFacts:
    """A domain and its adapter."""

    rows: int
    """In the data set."""
    new_rows: int
    """Since its adapter; all where it has none."""
    trained_at: int | None
    """Of the adapter that it goes on from; None where it has none."""
    on_base: bool
    """Whether that is on the base of now."""
    decidable: bool = True
    """Whether it has a row since the cut-off, for the gate to decide on."""
    drift: float | None = None
    gated: bool = True
    """Whether the gate has decided on that adapter, if it is a retraining's."""


@dataclass(frozen=True)
class Due:
    """Whether something is to be trained."""

    due: bool
    reason: str
    """Why, or why not."""
    overdue: float = 0.0
    """How many times over the threshold, from 1; above `MISSING` without an adapter, and above half
    of that without one on the base of now."""


MISSING = 1e9
UNDECIDED = "trained, not yet decided"
"""Why a domain is due whose adapter never came through the gate."""


def base_due(settings: Pipeline, base: BaseFacts | None, now: int, forced: bool = False) -> Due:
    """Whether a base is to be pretrained.

    Args:
        settings: The thresholds.
        base: None where there is none that can be used.
        now: The retraining's moment.
        forced: Asked for by hand.
    """
    if base is None:
        return Due(True, "there is no base", MISSING)
    if forced:
        return Due(True, "asked for", 1.0)
    age = now - base.trained_at
    if age < -TOLERANCE:
        return Due(True, _later(age), 1.0)
    reasons = [_age(age, settings.base_max_age_days)] if base.new_rows else []
    reasons.append(_drift(base.drift, settings.base_drift))
    found = _worst(reasons)
    if found is not None:
        return found
    if not base.new_rows:
        return Due(False, "no new rows")
    return Due(False, f"{_days(age)} old, due at {settings.base_max_age_days:g} days")


def domain_due(
    settings: Pipeline, domain: DomainFacts, now: int, min_rows: int, forced: bool = False
) -> Due:
    """Whether a domain is to be adapted.

    Args:
        settings: The thresholds.
        domain: What is known.
        now: The retraining's moment.
        min_rows: `[data] min_domain_rows`: a domain without an adapter waits for so many.
        forced: Asked for by hand.
    """
    if domain.trained_at is None:
        if domain.rows < min_rows and not forced:
            return Due(False, f"{domain.rows:,} rows, below min_domain_rows = {min_rows:,}")
    elif domain.on_base and not domain.new_rows and domain.gated:
        return Due(False, "no new rows")
    if not domain.decidable:
        return Due(False, "no row since the cut-off, for the gate to decide on")
    new = domain.new_rows / settings.min_new_rows
    if domain.trained_at is None:
        return Due(True, "no adapter", MISSING + new)
    if not domain.on_base:
        return Due(True, "the base changed", MISSING / 2 + new)
    if not domain.gated and not domain.new_rows:
        return Due(True, UNDECIDED, 1.0)
    if forced:
        return Due(True, "asked for", 1.0)
    age = now - domain.trained_at
    if age < -TOLERANCE:
        return Due(True, _later(age), 1.0)
    rows = Due(True, f"{domain.new_rows:,} new rows", new) if new >= 1 else None
    found = _worst([rows, _age(age, settings.max_age_days), _drift(domain.drift, settings.drift)])
    if found is not None:
        return found
    if not domain.gated:
        return Due(True, UNDECIDED, 1.0)
    return Due(False, f"{domain.new_rows:,} new rows of {settings.min_new_rows:,}")


def _worst(reasons: list[Due | None]) -> Due | None:
    """The reason that is most overdue; the others are told beside it."""
    found = sorted((each for each in reasons if each), key=lambda each: -each.overdue)
    if not found:
        return None
    return Due(True, ", ".join(each.reason for each in found), found[0].overdue)


def _age(age: int, most: float | None) -> Due | None:
    if most is None or age < most * DAY:
        return None
    return Due(True, f"{_days(age)} old", age / (most * DAY))


def _drift(found: float | None, most: float | None) -> Due | None:
    if most is None or found is None or not math.isfinite(found) or found < most:
        return None
    return Due(True, f"drift {found:.3f} bits", found / most)


def _days(seconds: int) -> str:
    return f"{max(seconds, 0) / DAY:.1f} days"


def _later(age: int) -> str:
    return f"trained {_days(-age)} later than now: a clock went back"
