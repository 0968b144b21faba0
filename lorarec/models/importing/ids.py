"""Which id each row of an imported matrix has: from the source, from files, or by the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from lorarec.data.tables import read_lines, read_table
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError
from lorarec.models.importing.arrays import read_npy
from lorarec.models.importing.factors import Factors, check_length, identifiers
from lorarec.models.importing.vectors import id_column


@dataclass(frozen=True)
class Order:
    """One way to number the users and items of a data set."""

    name: str
    """As a sentence says it, such as `the prepared data set's`."""
    users: Vocabulary
    items: Vocabulary


def read_ids(path: Path, what: str) -> Vocabulary:
    """Ids in the order of the rows: a line each in `.txt`, an array in `.npy`, or a table.

    Args:
        path: The file.
        what: `user` or `item`.

    Raises:
        ArtifactError: The array is missing or broken.
        DataError: The text or table is, or ids are null, empty or there twice.
    """
    return identifiers(_read(path, what), f"{what} ids of {path.name}")


def _read(path: Path, what: str) -> Any:
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if path.suffix.lower() == ".txt":
        return read_lines(path)
    frame = read_table(path)
    return frame[id_column(frame, what, path.name)]


def with_ids(factors: Factors, user_ids: Path | None, item_ids: Path | None) -> Factors:
    """Factors with the ids of given files.

    Raises:
        DataError: The source has ids of its own already, or the file does not fit the rows.
    """
    for path, name in ((user_ids, "user"), (item_ids, "item")):
        if path is None:
            continue
        user = name == "user"
        rows = len(factors.users if user else factors.items)
        if (factors.user_ids if user else factors.item_ids) is not None:
            raise DataError(
                f"The source has {name} ids of its own, and {path} has others. Expected one of "
                f"them; leave out --{name}-ids."
            )
        found = read_ids(path, name)
        check_length(found, rows, name, "the source")
        factors = replace(factors, user_ids=found) if user else replace(factors, item_ids=found)
    return factors


def matched(factors: Factors, orders: Sequence[Order]) -> tuple[Factors, str | None]:
    """Factors that have ids; without any, their rows are those of a data set as long as they are.

    Args:
        factors: With ids of both sides, or of none.
        orders: Ways to number the data set, the likeliest first.

    Returns:
        The factors, and the name of the order that was taken; None where they had ids.

    Raises:
        DataError: One side alone has ids, or no order has as many users and as many items.
    """
    has = [factors.user_ids is not None, factors.item_ids is not None]
    if all(has):
        return factors, None
    if any(has):
        lacking = "item" if has[0] else "user"
        raise DataError(
            f"There are ids of one side and no {lacking} ids. Expected both: --{lacking}-ids FILE"
        )
    rows = (len(factors.users), len(factors.items))
    for order in orders:
        if (len(order.users), len(order.items)) == rows:
            return replace(factors, user_ids=order.users, item_ids=order.items), order.name
    sizes = "; ".join(f"{o.name} {len(o.users):,} and {len(o.items):,}" for o in orders)
    raise DataError(
        f"The source has {rows[0]:,} users and {rows[1]:,} items and no ids, and the data set is "
        f"of another size: {sizes}. Expected ids in the order of the rows: --user-ids FILE "
        f"--item-ids FILE"
    )


def known_to(
    users: Vocabulary, items: Vocabulary, frame: pl.DataFrame
) -> dict[str, tuple[int, int]]:
    """How many ids of some rows an imported model knows: `users`, `items` → (known, in all).

    Args:
        users: The model's.
        items: The model's.
        frame: Rows with `user_id` and `item_id`; repeats count once.

    Raises:
        DataError: It knows no user or no item: the ids are of another kind.
    """
    found = {}
    for name, ids, vocabulary in (
        ("users", frame["user_id"], users),
        ("items", frame["item_id"], items),
    ):
        distinct = ids.unique(maintain_order=True)
        known = int((vocabulary.rows(distinct, missing="mark") >= 0).sum())
        if not known:
            own = ", ".join(map(repr, vocabulary.series.head(3)))
            theirs = ", ".join(map(repr, distinct.head(3)))
            raise DataError(
                f"None of the data set's {len(distinct):,} {name} is known to the imported model, "
                f"whose ids begin with {own}; the data set's begin with {theirs}. Expected the "
                f"same ids in both: --{name[:-1]}-ids FILE"
            )
        found[name] = (known, len(distinct))
    return found
