"""A recorded run as plain values, for lists and look-ups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lorarec.tracking.runs import TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

_RECALL = re.compile(r"(?:(?P<part>[a-z]+(?::\d+)?)[_./])?recall_at_(?P<k>\d+)")
_PARTS = {"test": 0, None: 1, "lora": 2, "challenger": 2, "full": 3, "base": 4, "valid": 5}


@dataclass(frozen=True)
class RunInfo:
    """One run of the store.

    Attributes:
        run_id: 32 hex digits.
        name: As shown in the UI.
        kind: One of `lorarec.tracking.runs.KINDS`.
        status: FINISHED, FAILED, KILLED or RUNNING.
        started: When it began, UTC.
        ended: When it ended, UTC; None while it runs.
        artifact_uri: Where its artifacts are.
        params: As logged.
        metrics: Last value of each.
        tags: With their prefix, such as `lorarec.domain`.
    """

    run_id: str
    name: str
    kind: str
    status: str
    started: datetime
    ended: datetime | None
    artifact_uri: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """`runs:/<id>`, accepted wherever a base or an adapter is asked for."""
        return f"runs:/{self.run_id}"

    def tag(self, name: str) -> str | None:
        """One of lorarec's own tags by its short name, such as `base_digest`."""
        return self.tags.get(TAG + name)

    @property
    def domain(self) -> str | None:
        """The domain it was about; None for a base."""
        return self.tag("domain")

    @property
    def rank(self) -> int | None:
        """The rank that all targets of an adapter share; None where they differ or have none.

        The tag `rank` is `mixed` where they differ.
        """
        text = self.tag("rank")
        return int(text) if text and text.isdigit() else None

    @property
    def passed_over(self) -> bool:
        """Whether it was one of several of which another was chosen, or none yet."""
        return self.tag("chosen") == "no"

    @property
    def part(self) -> str | None:
        """The part of the split that an `evaluate` was about; None for another kind."""
        # Runs of before the tag have the parameter.
        return self.tag("part") or (self.params.get("part") if self.kind == "evaluate" else None)

    @property
    def recall(self) -> tuple[str, float] | None:
        """The recall to show: of the test before validation's, at 20 before other cut-offs."""
        found = [
            (_PARTS.get(match["part"], 9), match["k"] != "20", int(match["k"]), key)
            for key in self.metrics
            if (match := _RECALL.fullmatch(key))
        ]
        if not found:
            return None
        key = min(found)[-1]
        return key, self.metrics[key]


def run_info(run: Run) -> RunInfo:
    """The plain values of an MLflow run."""
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id[:8],
        kind=run.data.tags.get(f"{TAG}kind", "other"),
        status=run.info.status,
        started=_moment(run.info.start_time),
        ended=_moment(run.info.end_time) if run.info.end_time else None,
        artifact_uri=run.info.artifact_uri,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
