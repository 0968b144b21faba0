"""The section `[gate]`: what an adapter must show before it serves."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from lorarec.config.section import Section, Share, listed


def _metric(value: str) -> str:
    if not re.fullmatch(r"[a-z_]+@[1-9]\d*", value):
        raise ValueError("a metric and a cut-off, such as recall@20 or ndcg@10")
    return value


class Gate(Section):
    """What decides whether an adapter becomes the champion of its domain.

    The challenger is compared with each rival on the same users by a paired bootstrap of
    `evaluate.bootstrap` resamples.
    """

    metric: Annotated[str, AfterValidator(_metric)] = "recall@20"
    """What is compared: `recall`, `recall_min`, `ndcg`, `hit_rate`, `mrr` or `map`, and its cut."""

    must_beat: Annotated[
        tuple[Literal["champion", "base", "popularity"], ...], BeforeValidator(listed)
    ] = ("champion", "base")
    """The rivals: the adapter that serves now, where there is one, the challenger's bare base, and
    the popularity of the domain."""

    min_effect: float = 0.0
    """What the lower end of the interval of challenger minus rival must be above. Below 0, a
    challenger passes that is shown to be at most so much worse."""

    confidence: Share = 0.95
    """Level of those two-sided intervals, between 0 and 1."""

    max_drop: Annotated[float, Field(ge=0.0)] | None = None
    """How far the mean of any slice may fall below what serves now (the champion, or the base where
    there is none), 0 or more; None asks for nothing."""

    min_slice_users: int = Field(default=20, ge=1)
    """Slices of fewer users are shown and decide nothing."""

    max_size: Annotated[int, Field(ge=1)] | None = None
    """Bytes of the adapter on disk, at most; None asks for nothing."""

    max_latency: Annotated[float, Field(gt=0.0)] | None = None
    """Milliseconds, at most, that 95 of 100 users wait for: the user's vector and exact search over
    the domain's catalogue, one user at a time, on this machine. None does not measure it."""

    part: str = Field(default="valid", min_length=1)
    """The part of the split that decides. `valid` leaves the test part to report on, but chose the
    adapter's step size and epochs too; `test` is a window that nothing was chosen on."""

    @field_validator("must_beat")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("rivals of which none stands there twice, or none: []")
        return value

    @field_validator("part")
    @classmethod
    def _held_out(cls, value: str) -> str:
        if value in ("train", "outside-core"):
            raise ValueError("a part that was held out, such as valid or test")
        return value

    @property
    def cut(self) -> int:
        """The cut-off of the metric."""
        return int(self.metric.partition("@")[2])

    @property
    def metric_name(self) -> str:
        """The metric without its cut-off."""
        return self.metric.partition("@")[0]
