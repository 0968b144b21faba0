"""Where a base comes from that was not trained: what it may have seen, what was merged into it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lorarec.data.splits import SplitRecord
from lorarec.record import Record

Leak = Literal["none", "unknown", "yes"]
TRAIN_ROWS = "train"
"""`trained_until` of a model that saw the split's train rows and no others."""
Until = int | Literal["train"] | None
"""Seconds since 1970: it saw nothing from then on; or `TRAIN_ROWS`; or None, which is not known."""


class Origin(Record):
    """What is known of an imported model."""

    source: str
    """Names of the files, a URI, or the class of a live model."""
    kind: str
    """What it was read as, such as `implicit ALS`."""
    files: dict[str, str]
    """Name of each file → its SHA-256; of a live model, of its numbers."""
    ids: str
    """Where the rows' ids come from: `source`, `files`, or a data set's order."""
    scale: float = Field(gt=0)
    """Scores are this times the original's: no ranking differs."""
    trained_until: Until = None
    """As stated by whoever imported it."""
    leak: Leak
    """Whether validation or test rows may have trained it."""

    def warning(self) -> str | None:
        """A sentence for whoever uses the base; None where nothing leaks."""
        if self.leak == "none":
            return None
        found = (
            "its training is not known to end before validation begins"
            if self.leak == "unknown"
            else "its training is stated to go on past where validation begins"
        )
        return (
            f"Warning: the base is imported ({self.source}) and {found}: measures on held-out rows "
            f"may flatter it, and adapters with it."
        )


class Merged(Record):
    """The base that an adapter was written into, and the adapter."""

    base_digest: str
    adapter_digest: str
    domain: str
    """The adapter's."""


def leak_of(split: SplitRecord, until: Until) -> Leak:
    """Whether rows held out by a split may have trained a model.

    Args:
        split: Of the data set.
        until: Second from which on the model saw nothing; `train` for the train rows alone; None
            where it is not known.

    Returns:
        `none` where the statement rules it out, `yes` where it says so itself, else `unknown`: a
        date tells nothing of a split that is not by time.
    """
    if until == TRAIN_ROWS:
        return "none"
    if until is None or split.used != "time" or split.t_valid is None:
        return "unknown"
    return "none" if int(until) <= split.t_valid else "yes"
