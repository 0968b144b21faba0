"""One domain beside a base: its rows, its vocabularies with grown rows, where those start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, NotFoundError, did_you_mean
from lorarec.jobs.grown import grown_rows
from lorarec.lora.attach import Touched
from lorarec.models.artefact import Base


@dataclass(frozen=True, eq=False)
class DomainData:
    """What an adapter of one domain trains and validates on."""

    name: str
    users: Vocabulary
    """The base's users, then those of the domain's train rows that it does not know."""
    items: Vocabulary
    """The base's items, then the domain's new ones."""
    train: Interactions
    valid: Interactions


def domain_frame(frame: pl.DataFrame, domain: str) -> pl.DataFrame:
    """The rows of one domain.

    Raises:
        NotFoundError: The logs do not have it; the nearest names are told.
        DataError: It has no train row.
    """
    rows = frame.filter(pl.col("domain") == domain)
    if not rows.height:
        names = frame["domain"].unique().to_list()
        raise NotFoundError(
            f"There is no domain {domain!r} in the logs.{did_you_mean(domain, names)}"
        )
    if not (rows["split"] == "train").any():
        parts = rows["split"].value_counts(sort=True).rows()
        raise DataError(
            f"Domain {domain!r} has {rows.height:,} rows and none in train ({dict(parts)}). "
            f"Expected some rows before the cut-off; choose another split, such as "
            f"lorarec pretrain --split random"
        )
    return rows


def domain_data(base: Base, frame: pl.DataFrame, domain: str) -> DomainData:
    """Rows of a domain over the base's vocabularies, grown by the ids of its train rows.

    Args:
        base: Gives the known ids.
        frame: Split logs of any domains.
        domain: Its name.

    Raises:
        NotFoundError, DataError: As `domain_frame`.
    """
    rows = domain_frame(frame, domain)
    train = rows.filter(pl.col("split") == "train")
    users = base.users.extend(train["user_id"])
    items = base.items.extend(train["item_id"])
    return DomainData(domain, users, items, *train_and_valid(rows, users, items))


def train_and_valid(
    frame: pl.DataFrame, users: Vocabulary, items: Vocabulary
) -> tuple[Interactions, Interactions]:
    """Train rows, and the validation rows of users that have a row.

    A validation item without a row stays in, behind the last row: it is in no catalogue and so
    counts as a miss.
    """
    valid = frame.filter(pl.col("split") == "valid")
    domains = frame["domain"].unique().sort().to_list()
    train = frame.filter(pl.col("split") == "train")
    return (
        Interactions.from_frame(train, users, items, domains),
        Interactions.from_frame(valid, users, items.extend(valid["item_id"]), domains),
    )


def touched_counts(base: Base, data: DomainData) -> dict[str, int]:
    """How many known rows of each table an adapter of the domain may move: `users`, `items`."""
    columns = {"users": (data.train.user, base.users), "items": (data.train.item, base.items)}
    return {
        name: int((np.unique(rows) < len(known)).sum()) for name, (rows, known) in columns.items()
    }


def touched_rows(base: Base, data: DomainData, ridge: float = 1.0) -> Touched:
    """The rows an adapter of the domain may move, and where its grown rows start.

    Args:
        base: What is adapted.
        data: Rows of the domain.
        ridge: λ of where grown rows start, as `grown_rows` takes it.
    """
    known_users, known_items = len(base.users), len(base.items)
    user_rows, item_rows = np.unique(data.train.user), np.unique(data.train.item)
    if len(data.users) == known_users and len(data.items) == known_items:
        # Nothing grows, so nothing of the tables is read: many domains cost what they touch.
        grown_users = grown_items = torch.empty(0, base.model.dim)
    else:
        grown_users, grown_items = grown_rows(base, data.train, data.users, data.items, ridge)
    return Touched(
        users=torch.from_numpy(user_rows[user_rows < known_users].astype(np.int64)),
        items=torch.from_numpy(item_rows[item_rows < known_items].astype(np.int64)),
        grown_users=grown_users,
        grown_items=grown_items,
        bias=torch.from_numpy(item_rows.astype(np.int64)),
    )
