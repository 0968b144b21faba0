"""A split by time whose cut-offs have moved on from those of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable

from lorarec.data.splits import SplitRecord


def goes_on(later: SplitRecord, earlier: SplitRecord) -> bool:
    """Whether nothing that the earlier split trained on is held out by the later one.

    Both are by time, with the same rules besides, and the later one's validation begins no sooner.
    Then what was trained before its cut-off may be measured on rows after it.
    """
    if later == earlier:
        return True
    same = ("duplicates", "min_user_rows", "min_item_rows")
    return (
        later.used == earlier.used == "time"
        and all(getattr(later, name) == getattr(earlier, name) for name in same)
        and later.t_valid is not None
        and earlier.t_valid is not None
        and later.t_valid >= earlier.t_valid
    )


def latest(splits: Iterable[SplitRecord]) -> SplitRecord:
    """The one with the last cut-off: what the others trained on is not held out by it either."""
    return max(splits, key=lambda split: split.t_valid or 0)
