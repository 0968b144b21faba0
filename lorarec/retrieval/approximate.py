"""Approximate top-k over one catalogue by any FAISS index: what it finds is rescored exactly.

Only *which* items are found is approximate. Scores, order and ties are those of exact search, what
a user has seen never comes back, and a user never gets fewer than k items while there are k:
whoever is short is searched for exactly.

Added items go behind the others in FAISS. A removed item stays there, as most kinds of FAISS index
cannot take one out, and is passed over; once more than a fifth are such, the index is built anew.
With several threads a graph is not built the same way twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lorarec.errors import ConfigError
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.factory import Factory, built, effort_of
from lorarec.retrieval.held import HeldIndex
from lorarec.retrieval.index import ExactIndex, tuned_faiss
from lorarec.retrieval.space import Space
from lorarec.retrieval.vectors import CatalogueVectors, Floats, Ints, Metric

REBUILD_ABOVE = 0.2
"""Share of removed items at which an index is built anew."""
# An allow-list of less than this share is searched exactly: a smaller catalogue is faster.
_OWN_BELOW = 0.5


@dataclass(frozen=True)
class Effort:
    """How hard to look: dearer and better with each step."""

    value: int = 16
    """`nprobe` or `efSearch`."""
    candidates: int = 1
    """Rescored candidates for each item that is wanted."""


class ApproximateIndex(HeldIndex):
    """All items of one catalogue, found by a FAISS index.

    Args:
        item_vectors: float32 (n, d), one row an item; n ≥ 1.
        item_rows: int64 (n,), strictly ascending. None: 0 … n-1.
        item_bias: float32 (n,) added to each item's score. None: no bias.
        metric: `ip` or `cosine`.
        factory: A FAISS factory string; a refining stage at its end is ours in any case.
        effort: How hard to look.

    Raises:
        ConfigError: FAISS cannot build it.
        DataError: NaN or infinity in vectors or bias, or arrays that do not fit together.
    """

    _lent = False
    """Whether another index has the same FAISS index."""

    def __init__(
        self,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike | None = None,
        item_bias: npt.ArrayLike | None = None,
        metric: Metric = "ip",
        factory: str = "HNSW32",
        effort: Effort | None = None,
    ) -> None:
        catalogue = CatalogueVectors.of(item_vectors, item_rows, item_bias, metric)
        self._build(catalogue, Factory.of(factory), effort)

    @classmethod
    def over(
        cls, catalogue: CatalogueVectors, factory: str, effort: Effort | None = None
    ) -> ApproximateIndex:
        """An index of vectors that were checked already."""
        index = cls.__new__(cls)
        index._build(catalogue, Factory.of(factory), effort)
        return index

    @classmethod
    def restored(
        cls,
        catalogue: CatalogueVectors,
        factory: str,
        effort: Effort,
        index: Any,
        slots: Ints,
        length: float | None,
    ) -> ApproximateIndex:
        """What was saved: the FAISS index, and what each of its vectors is.

        Args:
            catalogue: The items.
            factory: What it was built of.
            effort: How hard to look.
            index: Of FAISS.
            slots: int64 (index.ntotal,): position in the catalogue, -1 for a removed item.
            length: Of `Space`.
        """
        made = cls.__new__(cls)
        made.factory, made.faiss, made.slots = Factory.of(factory), index, slots
        made.space = Space(index.d, length)
        made._knob, made.largest_effort = effort_of(index)
        made._hold(catalogue)
        made.effort = effort
        return made

    def _build(self, catalogue: CatalogueVectors, factory: Factory, effort: Effort | None) -> None:
        self._hold(catalogue)
        self.factory = factory
        self.space = Space.of(catalogue.vectors, factory.graph, factory.parts)
        self.faiss = built(factory, catalogue.vectors, self.space)
        self.slots: Ints = np.arange(len(catalogue), dtype=np.int64)
        """Position in the catalogue of each vector that FAISS holds; -1 for a removed item."""
        self._knob, self.largest_effort = effort_of(self.faiss)
        self.effort = effort or Effort(candidates=4 if factory.compressed else 1)

    @property
    def removed(self) -> int:
        """Items that FAISS still holds and the catalogue has not."""
        return len(self.slots) - len(self)

    @property
    def index_bytes(self) -> int:
        """Bytes of the FAISS index alone, as it is written."""
        import faiss

        return int(faiss.serialize_index(self.faiss).nbytes)

    def only(self, item_rows: npt.ArrayLike) -> CatalogueIndex:
        """As `CatalogueIndex.only`: exact for less than half of the items, and else this index with
        the others passed over, to which nothing can be added.
        """
        positions = self.catalogue.positions(item_rows)
        kept = self.catalogue.take(positions)
        if len(positions) < _OWN_BELOW * len(self):
            return ExactIndex.over(kept)
        slots = _renumbered(self.slots, positions, len(self))
        view = ApproximateIndex.restored(
            kept, self.factory.text, self.effort, self.faiss, slots, self.space.length
        )
        view._lent = True
        return view

    def add(
        self,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike,
        item_bias: npt.ArrayLike | None = None,
    ) -> None:
        """Put new items in; lists and codes stay those that the first items trained.

        Args:
            item_vectors: float32 (m, d).
            item_rows: int64 (m,), strictly ascending, none of them here yet.
            item_bias: float32 (m,), if the others have one.

        Raises:
            ConfigError: This is what `only` gave.
            DataError: An item is here already, a vector is not finite, or shapes do not fit.
        """
        if self._lent:
            raise ConfigError(
                "This is an allow-list of another index and shares its vectors. Expected the whole "
                "index to be changed; take the allow-list again afterwards."
            )
        new = CatalogueVectors.of(item_vectors, item_rows, item_bias, self.catalogue.metric)
        joined = self.catalogue.joined(new)
        before = np.searchsorted(joined.item_rows, self.item_rows)
        places = np.searchsorted(joined.item_rows, new.item_rows)
        old = np.where(self.slots < 0, -1, before[np.maximum(self.slots, 0)])
        self.faiss.add(self.space.items(new.vectors))
        self.slots = np.concatenate([old, places]).astype(np.int64)
        self._hold(joined)

    def remove(self, item_rows: npt.ArrayLike) -> bool:
        """Take items out.

        Returns:
            Whether the index was built anew, as more than a fifth of it was removed items.

        Raises:
            DataError: Some are not here.
        """
        gone = np.zeros(len(self), dtype=np.bool_)
        gone[self.catalogue.positions(item_rows)] = True
        kept = np.flatnonzero(~gone)
        slots = _renumbered(self.slots, kept, len(self))
        catalogue = self.catalogue.take(kept)
        if len(slots) - len(kept) > REBUILD_ABOVE * len(slots):
            self._build(catalogue, self.factory, self.effort)
            return True
        self.slots = slots
        self._hold(catalogue)
        return False

    def renumber(self, item_rows: Ints) -> None:
        """Call the items by other rows, strictly ascending as before."""
        c = self.catalogue
        self._hold(CatalogueVectors(c.vectors, np.asarray(item_rows, np.int64), c.dim, c.metric))

    def _candidates(self, users: Floats, fetch: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        total = len(self.slots)
        passed_over = 1 + self.removed / max(1, len(self))
        fetch = min(total, int(np.ceil(fetch * self.effort.candidates * passed_over)))
        parameters = self._parameters(fetch)
        _, found = self.faiss.search(self.space.users(users), fetch, params=parameters)
        positions = np.where(found < 0, -1, self.slots[np.maximum(found, 0)])
        return positions, np.full(len(users), -np.inf)

    def _held(self, fetch: int) -> int:
        return super()._held(fetch) * self.effort.candidates

    def _parameters(self, fetch: int) -> Any:
        faiss: Any = tuned_faiss()
        value = min(self.effort.value, self.largest_effort)
        if self._knob == "efSearch":
            inner: Any = faiss.SearchParametersHNSW(efSearch=max(value, fetch))
        elif self._knob == "nprobe":
            inner = faiss.SearchParametersIVF(nprobe=value)
        else:
            return None
        if isinstance(faiss.downcast_index(self.faiss), faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=inner)
        return inner


def _renumbered(slots: Ints, kept: Ints, count: int) -> Ints:
    """Slots over the positions that are kept; -1 for all others."""
    place = np.full(count, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    return np.where(slots < 0, -1, place[np.maximum(slots, 0)])
