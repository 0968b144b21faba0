"""The in-memory dataset: one entry a row in index arrays, with views by part and by domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, NotFoundError, did_you_mean

Array = np.ndarray[Any, Any]
NO_TIME = -1
"""What `timestamp` holds where a row has none; real timestamps are 0 or above."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions as arrays of length n, over two vocabularies and a list of domains.

    The order of rows is that of the logs. Arrays are shared between views: do not write to them.
    """

    users: Vocabulary
    """Rows of `user`."""
    items: Vocabulary
    """Rows of `item`."""
    domains: tuple[str, ...]
    """Names of `domain_index`."""
    splits: tuple[str, ...]
    """Names of `split_index`."""
    user: Array
    """int64 (n,): row of the user."""
    item: Array
    """int64 (n,): row of the item."""
    domain_index: Array
    """int16 (n,): place in `domains`."""
    weight: Array
    """float32 (n,), 0 or above."""
    timestamp: Array
    """int64 (n,): seconds UTC; -1 where there is none."""
    split_index: Array
    """int16 (n,): place in `splits`."""
    dropped_unknown: int = 0
    """Rows left out by `from_frame` because the vocabularies lack their user or item."""

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def from_frame(
        cls,
        frame: pl.DataFrame,
        users: Vocabulary | None = None,
        items: Vocabulary | None = None,
        domains: Sequence[str] | None = None,
    ) -> Interactions:
        """Index split logs by vocabularies.

        Args:
            frame: Canonical logs; a null `split` counts as `train`.
            users: Known users; None takes those of the frame in order of appearance.
            items: Known items; None takes those of the frame in order of appearance.
            domains: Order of domains; None sorts those of the frame. Rows of others are an error.

        Returns:
            Rows whose user and item are known; the others are counted in `dropped_unknown`.

        Raises:
            NotFoundError: The frame has a domain that `domains` lacks.
        """
        users = Vocabulary().extend(frame["user_id"]) if users is None else users
        items = Vocabulary().extend(frame["item_id"]) if items is None else items
        names = frame["domain"].unique().sort().to_list() if domains is None else list(domains)
        split = frame["split"].fill_null("train")
        splits = split.unique().sort().to_list()
        user = users.rows(frame["user_id"], missing="mark")
        item = items.rows(frame["item_id"], missing="mark")
        known = (user >= 0) & (item >= 0)
        everything = cls(
            users=users,
            items=items,
            domains=tuple(names),
            splits=tuple(splits),
            user=user,
            item=item,
            domain_index=_codes(frame["domain"], names),
            weight=frame["weight"].to_numpy().astype(np.float32, copy=True),
            timestamp=frame["timestamp"].fill_null(NO_TIME).to_numpy().astype(np.int64, copy=True),
            split_index=_codes(split, splits),
            dropped_unknown=int(len(known) - known.sum()),
        )
        return everything if known.all() else everything.where(known)

    def where(self, mask: Array) -> Interactions:
        """The rows where `mask` (bool (n,), or row places) holds; vocabularies stay whole."""
        return replace(
            self,
            user=self.user[mask],
            item=self.item[mask],
            domain_index=self.domain_index[mask],
            weight=self.weight[mask],
            timestamp=self.timestamp[mask],
            split_index=self.split_index[mask],
        )

    def part(self, *names: str) -> Interactions:
        """The rows of one or more parts, such as `part("train")` or `part("train", "valid")`.

        Train, valid and test always exist, if only empty.

        Raises:
            NotFoundError: No row is in a part of another name.
        """
        for name in names:
            if name not in self.splits and name not in ("train", "valid", "test"):
                raise NotFoundError(
                    f"There is no split {name!r}.{did_you_mean(name, self.splits)} "
                    f"Expected a value of the logs' column `split`."
                )
        codes = [self.splits.index(name) for name in names if name in self.splits]
        return self.where(np.isin(self.split_index, codes))

    def domain_place(self, name: str) -> int:
        """Place of a domain in `domains`.

        Raises:
            NotFoundError: There is no such domain; the nearest names are given.
        """
        if name not in self.domains:
            raise NotFoundError(
                f"There is no domain {name!r} in the logs.{did_you_mean(name, self.domains)} "
                f"`lorarec data describe PATH` lists the {len(self.domains)} domains."
            )
        return self.domains.index(name)

    def domain(self, name: str) -> Interactions:
        """The rows of one domain; vocabularies stay whole.

        Raises:
            NotFoundError: There is no such domain; the nearest names are given.
        """
        return self.where(self.domain_index == self.domain_place(name))

    def catalogue(self, domain: str | None = None) -> Array:
        """Items that occur here in a domain: int64 (m,), distinct, ascending.

        Args:
            domain: A domain; None takes all.

        Raises:
            NotFoundError: There is no such domain.
        """
        rows = self if domain is None else self.domain(domain)
        return np.unique(rows.item)

    def csr(self, weighted: bool = False) -> sparse.csr_matrix:
        """User-item matrix of these rows.

        Args:
            weighted: Entries are sums of weights; otherwise 1 for a pair that occurs.

        Returns:
            float32 CSR (n_users, n_items), rows in vocabulary order, columns sorted. Zero means
            that the pair does not occur (or, weighted, that its weights are all 0).
        """
        shape = (len(self.users), len(self.items))
        matrix = sparse.csr_matrix((self.weight, (self.user, self.item)), shape=shape)
        matrix.sum_duplicates()
        if not weighted:
            matrix.data[:] = 1.0
        return matrix


def _codes(column: pl.Series, names: Sequence[str]) -> Array:
    """int16 place of each value in `names`; a value that is not there is an error."""
    if len(names) > np.iinfo(np.int16).max:
        raise DataError(
            f"The column {column.name!r} has {len(names):,} distinct values. "
            f"Expected at most {np.iinfo(np.int16).max:,}."
        )
    codes = column.cast(pl.Enum(names), strict=False).to_physical()
    if codes.null_count():
        unknown = column.filter(codes.is_null()).unique().sort().head(5).to_list()
        raise NotFoundError(
            f"The logs have rows of {column.name} {', '.join(map(repr, unknown))}, which is not "
            f"known here. Expected one of {', '.join(names[:10])}."
        )
    return codes.cast(pl.Int16).to_numpy().astype(np.int16, copy=True)
