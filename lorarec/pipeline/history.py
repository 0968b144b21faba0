"""The table of what became of each domain in each retraining: lines of JSON, append-only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lorarec.errors import ArtifactError
from lorarec.pipeline.points import reached
from lorarec.storage import write_text

NAME = "history.ndjson"
IDLE = "idle"
"""The verdict of a domain that was not due."""


@dataclass(frozen=True)
class Row:
    """One domain in one retraining.

    Attributes:
        retrain: Its id.
        at: Its moment, seconds since 1970.
        domain: The name.
        verdict: `promote`, `keep-champion` or `keep-base` of the gate; or `unchanged`, `failed`,
            `postponed`, `idle`.
        recall: Of what serves afterwards, at the gate's cut on its part; None where the gate was
            not asked.
        coverage: Share of the catalogue that it recommends, from the same lists.
        drift: Of the rows since the adapter before, in bits above chance.
        bytes: Of the adapter that was trained.
        seconds: For training and gate.
        fresh_days: Days from the newest row that what serves was trained on to the retraining.
        rows: New rows of the domain.
        version: That serves afterwards; None is the bare base.
        base: Digest of the base that was trained on.
        reason: Why it was due, or not; of a failure the error.
    """

    retrain: str
    at: int
    domain: str
    verdict: str
    recall: float | None = None
    coverage: float | None = None
    drift: float | None = None
    bytes: int | None = None
    seconds: float | None = None
    fresh_days: float | None = None
    rows: int = 0
    version: int | None = None
    base: str = ""
    reason: str = ""


_KEYS = {field.name for field in fields(Row)}


def record(work: Path, rows: Sequence[Row]) -> None:
    """Add rows of one retraining; those that are there of the same retraining are replaced.

    The file is written beside and renamed: a reader has the old table or the new one.

    Raises:
        ArtifactError: A line that is there is none of ours.
        StoreError: The disk refused.
    """
    new = {row.retrain for row in rows}
    kept = [row for row in read(work) if row.retrain not in new]
    reached("history-before")
    write_text(work / NAME, "".join(f"{json.dumps(asdict(r))}\n" for r in [*kept, *rows]))
    reached("history-after")


def read(work: Path) -> list[Row]:
    """All rows, the oldest first; none before the first retraining.

    A key of a newer version is passed over.

    Raises:
        ArtifactError: A line is no row; its number is told.
    """
    try:
        text = (work / NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            values: dict[str, Any] = json.loads(line)
            found.append(Row(**{key: value for key, value in values.items() if key in _KEYS}))
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{work / NAME}, line {number} is no row of the history ({error}). It was edited; "
                f"take that line out, or move the file away to begin a new one."
            ) from error
    return found


def latest_due(rows: Iterable[Row]) -> dict[str, Row]:
    """The last row of each domain in which it was due, else its last; by name."""
    found: dict[str, Row] = {}
    for row in rows:
        before = found.get(row.domain)
        if row.verdict != IDLE or before is None or before.verdict == IDLE:
            found[row.domain] = row
    return dict(sorted(found.items()))
