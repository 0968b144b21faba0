"""Slices of an evaluation: items by popularity, users by activity, each by train rows alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError
from lorarec.evaluation.metrics import HeldOut

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ITEMS = ("head_items", "mid_items", "tail_items")
USERS = ("active_users", "middling_users", "quiet_users")


def item_slices(popularity: npt.ArrayLike) -> dict[str, Bools]:
    """Head, mid and tail: the items that hold a third each of the train rows, most popular first.

    An item is where its first row falls, so the head is never empty; equally popular items are in
    the order of their rows.

    Args:
        popularity: (n,) train rows of each item, 0 or more.

    Returns:
        `head_items`, `mid_items` and `tail_items`, bool (n,) each; every item is in one of them.

    Raises:
        DataError: A number is negative or not finite.
    """
    rows = np.asarray(popularity, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(rows) & (rows >= 0)))
    if bad.size:
        raise DataError(
            f"{bad.size} items have no number of train rows, first: {bad[:5].tolist()}. Expected "
            f"finite numbers from 0 on."
        )
    order = np.argsort(-rows, kind="stable")
    before = np.cumsum(rows[order]) - rows[order]
    total = rows.sum()
    third = np.empty(len(rows), dtype=np.int64)
    third[order] = np.minimum((3 * before) // total, 2) if total > 0 else 2
    return {name: third == place for place, name in enumerate(ITEMS)}


def user_slices(activity: npt.ArrayLike) -> dict[str, Bools]:
    """Terciles of the users that have train rows, by how many; users of equal count stay together.

    Args:
        activity: (m,) train rows of each user; those with 0 are in none of the slices.

    Returns:
        `active_users`, `middling_users` and `quiet_users`, bool (m,) each.
    """
    rows = np.asarray(activity, dtype=np.int64)
    known = rows > 0
    if not known.any():
        return dict.fromkeys(USERS, known)
    low, high = np.quantile(rows[known], [1 / 3, 2 / 3], method="inverted_cdf")
    return {
        "active_users": known & (rows > high),
        "middling_users": known & (rows > low) & (rows <= high),
        "quiet_users": known & (rows <= low),
    }


def held_out_among(held_out: HeldOut, chosen: Bools) -> HeldOut:
    """The held-out items that are chosen; items without a row, or beyond the mask, are not.

    Args:
        held_out: Of m users.
        chosen: bool (n,) by item row.
    """
    inside = held_out.rows < len(chosen)
    inside[inside] = chosen[held_out.rows[inside]]
    users = np.repeat(np.arange(len(held_out)), np.diff(held_out.indptr))[inside]
    return HeldOut.from_pairs(users, held_out.rows[inside], len(held_out))
