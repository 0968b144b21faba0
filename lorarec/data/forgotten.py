"""Ids that are to be forgotten, and the rows of a table that name one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError

Side = Literal["users", "items"]
SIDES: tuple[Side, ...] = ("users", "items")
COLUMNS: dict[Side, str] = {"users": "user_id", "items": "item_id"}


@dataclass(frozen=True)
class Forgotten:
    """Users and items by their ids."""

    users: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()

    @classmethod
    def of(cls, users: Iterable[object] = (), items: Iterable[object] = ()) -> Forgotten:
        """Ids as text.

        Raises:
            ConfigError: There are none, or one is empty.
        """
        found = cls(frozenset(map(str, users)), frozenset(map(str, items)))
        if "" in found.users | found.items or not (found.users or found.items):
            raise ConfigError(
                "No id was named. Expected at least one: --user ID, --item ID, or a file of them."
            )
        return found

    def ids(self, side: Side) -> list[str]:
        """Of `users` or `items`, sorted."""
        return sorted(self.users if side == "users" else self.items)

    @property
    def texts(self) -> list[str]:
        """All of both, sorted."""
        return sorted(self.users | self.items)

    def among(self, side: Side, vocabulary: Vocabulary) -> list[int]:
        """Rows of a vocabulary whose id is to be forgotten, ascending."""
        rows = vocabulary.rows(self.ids(side), missing="mark")
        return sorted(int(row) for row in rows if row >= 0)

    def kept(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table that name none of them, by its columns `user_id` and `item_id`."""
        for side, column in COLUMNS.items():
            if column in frame.columns and self.ids(side):
                text = pl.col(column).cast(pl.String)
                frame = frame.filter(text.is_in(self.ids(side)).not_() | text.is_null())
        return frame
