"""A model to import: opened from a file, a URI or memory, and made a base at any scale."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.data.prepared.dataset import open_dataset
from lorarec.data.prepared.manifest import is_prepared
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError
from lorarec.jobs.describing import described
from lorarec.jobs.listener import Listener
from lorarec.jobs.reading import SplitLogs, trained_ids
from lorarec.models.artefact import Base, load_base
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.ids import Order, matched, with_ids
from lorarec.models.importing.reading import read_factors
from lorarec.models.importing.scaling import rescaled
from lorarec.models.origin import Until
from lorarec.storage import sha256_file
from lorarec.tracking.registry import resolve
from lorarec.tracking.store import Store

_URI = re.compile(r"(runs|models):/.+|[0-9a-f]{32}")


@dataclass(frozen=True)
class Stated:
    """What whoever imports a model says of it, beyond the file."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Part of `factors.SLOTS` → name of the array that holds it."""
    user_ids: Path | None = None
    """File of the users' ids in the order of their rows."""
    item_ids: Path | None = None
    """File of the items' ids in the order of their rows."""
    trained_until: Until = None
    """Second from which on it saw nothing; `train` for this split's train rows alone."""
    accept_leak: bool = False
    """Import it even where it is stated to have seen held-out rows."""
    scale: float | None = None
    """What scores are multiplied with, above 0; None chooses on validation."""


NOTHING_STATED = Stated()


class Foreign(ABC):
    """A model to import.

    Attributes:
        source: Names of the files, a URI, or the class of a live model.
        kind: What it was read as.
        files: Name → SHA-256.
        ids: Where the rows' ids come from.
        notes: Sentences for the screen.
        until: When its training ended, as it says itself.
        rescales: Whether its scores may be multiplied.
    """

    source: str
    kind: str
    files: Mapping[str, str]
    ids: str = "source"
    notes: tuple[str, ...] = ()
    until: Until = None
    rescales: bool = True

    @property
    @abstractmethod
    def dim(self) -> int:
        """d."""

    @property
    @abstractmethod
    def users(self) -> Vocabulary:
        """Ids of the user rows, once identified."""

    @property
    @abstractmethod
    def items(self) -> Vocabulary:
        """Ids of the item rows, once identified."""

    @abstractmethod
    def identified(self, frame: pl.DataFrame, paths: Sequence[Path], listen: Listener) -> Foreign:
        """The same with ids, of the data set's order where it has none of its own.

        Raises:
            DataError: Neither has ids for its rows.
        """

    @abstractmethod
    def base(self, settings: Settings, scale: float, logs: SplitLogs) -> Base:
        """A base whose scores are `scale` times the original's."""


class Vectors(Foreign):
    """Two matrices of any other library."""

    def __init__(self, factors: Factors, source: str, ids: str) -> None:
        self.source, self.kind, self.files = source, factors.kind, factors.files
        self.ids, self.notes = ids, factors.notes
        self._factors = factors

    @property
    def dim(self) -> int:
        return self._factors.dim

    @property
    def users(self) -> Vocabulary:
        assert self._factors.user_ids is not None
        return self._factors.user_ids

    @property
    def items(self) -> Vocabulary:
        assert self._factors.item_ids is not None
        return self._factors.item_ids

    def identified(self, frame: pl.DataFrame, paths: Sequence[Path], listen: Listener) -> Vectors:
        users, items = trained_ids(frame)
        orders = [Order("the order in which the train rows show them", users, items)]
        if len(paths) == 1 and is_prepared(paths[0]):
            dataset = open_dataset(paths[0])
            orders.insert(0, Order("the prepared data set's order", dataset.users, dataset.items))
        factors, order = matched(self._factors, orders)
        if order is None:
            return self
        listen.say(
            f"The source has no ids and as many rows as the data set: users and items are taken to "
            f"be in {order}. If they are not: --user-ids FILE --item-ids FILE"
        )
        return Vectors(factors, self.source, order)

    def base(self, settings: Settings, scale: float, logs: SplitLogs) -> Base:
        model = rescaled(self._factors, scale)
        info = described(settings, model, self.users, self.items, logs, {})
        return Base(model, self.users, self.items, info)


class OtherBase(Foreign):
    """A base of lorarec as it is, with its own scale, over another data set."""

    rescales = False

    def __init__(self, base: Base, source: str, folder: Path) -> None:
        self.source, self.kind = source, f"lorarec {base.info.model}"
        self.files = {"base.json": sha256_file(folder / "base.json")}
        self._base = base
        split = base.info.split
        self.until = split.t_valid if split.used == "time" else None
        if (origin := base.info.origin) is not None and origin.trained_until != "train":
            self.until = origin.trained_until

    @property
    def dim(self) -> int:
        return self._base.model.dim

    @property
    def users(self) -> Vocabulary:
        return self._base.users

    @property
    def items(self) -> Vocabulary:
        return self._base.items

    def identified(self, frame: pl.DataFrame, paths: Sequence[Path], listen: Listener) -> OtherBase:
        return self

    def base(self, settings: Settings, scale: float, logs: SplitLogs) -> Base:
        update = {"data": logs.source.model_copy(update={"split": None}), "split": logs.split}
        return replace(self._base, info=self._base.info.model_copy(update=update))


def opened(model: Sequence[str] | Factors, store: Store, stated: Stated) -> Foreign:
    """Read a model.

    Args:
        model: One or two paths or URIs; or vectors in memory.
        store: Where URIs are looked up.
        stated: Names of arrays and files of ids.

    Raises:
        NotFoundError: It is not there.
        ArtifactError: It is broken, or holds Python objects.
        DataError: It holds no model, or what was stated does not fit it.
    """
    ids = "source" if stated.user_ids is None and stated.item_ids is None else "files"
    if isinstance(model, Factors):
        factors = with_ids(model, stated.user_ids, stated.item_ids)
        return Vectors(factors, ", ".join(model.files) or "memory", ids)
    places = [
        resolve(store, text, "source")[0] if _URI.fullmatch(text) else Path(text).expanduser()
        for text in model
    ]
    source = ", ".join(
        text if _URI.fullmatch(text) else place.name or str(place)
        for text, place in zip(model, places, strict=True)
    )
    if len(places) == 1 and (folder := _base_folder(places[0])) is not None:
        given = {
            "--user-ids": stated.user_ids,
            "--item-ids": stated.item_ids,
            "--name": stated.names or None,
            "--scale": stated.scale,
        }
        if wrong := [option for option, value in given.items() if value is not None]:
            raise DataError(
                f"{source} is a base of lorarec: it has ids, names and a scale of its own. "
                f"Expected no {' or '.join(wrong)}."
            )
        return OtherBase(load_base(folder), source, folder)
    factors = with_ids(read_factors(places, stated.names), stated.user_ids, stated.item_ids)
    return Vectors(factors, source, ids)


def _base_folder(place: Path) -> Path | None:
    """The folder of a base: this one, or `base` in it."""
    for folder in (place, place / "base"):
        if (folder / "base.json").is_file():
            return folder
    return None
