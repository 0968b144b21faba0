"""One index for all domains of a base: item vectors once, and each domain's factors beside them.

With v_i the base's vector of an item, a_i B a domain's low-rank delta of it (the scale inside B)
and T = I + P Q its transform,

    <u, (v_i + a_i B) T>  =  <(u', u' Bᵀ), (v_i, a_i)>   with   u' = u Tᵀ

so that a domain stores a_i alone, r numbers an item in place of d, and a user of the domain asks
with (u', u' Bᵀ). Items that the base has no vector of, or that are whole in the domain, have a
vector of their own there. For cosine the length of (v_i + a_i B) T is the domain's; its inverse is
stored and multiplied in before the cut, so nothing is approximate. Candidates are found in float32,
rescored in float64, and a user whose cut may have gone through a tie is searched again in full.

What comes between the table and the inner product and is not linear, as the layers of a tower, has
no place here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError, NotFoundError, did_you_mean
from lorarec.retrieval.catalogue import BUDGET, CatalogueIndex
from lorarec.retrieval.vectors import CatalogueVectors, Floats, Ints, checked, largest_norm

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DomainFactors:
    """What one domain adds to the shared vectors; c items in its catalogue."""

    base_rows: Ints
    """(c,): row of the shared vectors, -1 for an item with a vector of its own."""
    a: Floats
    """(c, r): zero where the item is not moved; r may be 0."""
    b: Floats
    """(r, d), scale included."""
    own: Floats
    """(g, d): raw vectors of the items with base row -1, in their order."""
    p: Floats
    """(d, t), scale included; t = 0 without a transform."""
    q: Floats
    """(t, d)."""
    bias: Floats | None = None
    """(c,) added to scores."""

    def __len__(self) -> int:
        return len(self.base_rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.base_rows, self.a, self.b, self.own, self.p, self.q)
        return sum(array.nbytes for array in arrays) + (
            0 if self.bias is None else self.bias.nbytes
        )

    def checked(self, rows: int, dim: int) -> DomainFactors:
        """Finite float32 arrays of shapes that fit `rows` shared vectors of dimension `dim`.

        Raises:
            DataError: They do not.
        """
        names = ("a", "b", "own", "p", "q")
        found = {name: checked(f"{name} of a domain", getattr(self, name)) for name in names}
        base_rows = np.asarray(self.base_rows, dtype=np.int64)
        c, own = len(base_rows), int((base_rows < 0).sum())
        r, t = found["b"].shape[0], found["q"].shape[0]
        shapes = {"a": (c, r), "b": (r, dim), "own": (own, dim), "p": (dim, t), "q": (t, dim)}
        wrong = [name for name in names if found[name].shape != shapes[name]]
        if wrong or base_rows.max(initial=-1) >= rows:
            raise DataError(
                f"Factors of a domain do not fit: {wrong[:1] or 'base_rows'} for {rows:,} shared "
                f"vectors of dimension {dim}. Expected {shapes} and rows below {rows:,}."
            )
        bias = self.bias
        if bias is not None:
            bias = checked("biases of a domain", np.asarray(bias)[:, None])[:, 0]
            if bias.shape != (c,):
                raise DataError(f"bias has shape {bias.shape}. Expected ({c},).")
        return replace(self, base_rows=base_rows, bias=bias, **found)


class AugmentedIndex:
    """Vectors of all items of a base, held once, and the factors of any number of domains.

    Args:
        base_vectors: float32 (n, d): raw vectors, before a transform and before any normalising.
        unit_items: Whether an item is compared at norm 1 (cosine); users come as they score.

    Raises:
        DataError: NaN or infinity.
    """

    def __init__(self, base_vectors: npt.ArrayLike, unit_items: bool) -> None:
        self.vectors = checked("item vectors", base_vectors)
        self.unit_items = unit_items
        self._domains: dict[str, AugmentedDomain] = {}

    @property
    def dim(self) -> int:
        """d."""
        return int(self.vectors.shape[1])

    @property
    def domains(self) -> list[str]:
        """Their names, sorted."""
        return sorted(self._domains)

    def put(self, name: str, factors: DomainFactors) -> AugmentedDomain:
        """Add a domain, or replace it.

        Raises:
            DataError: The factors do not fit the vectors, or are not finite.
        """
        fitting = factors.checked(len(self.vectors), self.dim)
        self._domains[name] = AugmentedDomain(self.vectors, fitting, self.unit_items)
        return self._domains[name]

    def drop(self, name: str) -> None:
        """Take a domain out; the shared vectors stay."""
        self.domain(name)
        del self._domains[name]

    def domain(self, name: str) -> AugmentedDomain:
        """Search over one domain's catalogue.

        Raises:
            NotFoundError: There is no such domain.
        """
        if name not in self._domains:
            raise NotFoundError(
                f"The index has no domain {name!r}.{did_you_mean(name, self._domains)}"
            )
        return self._domains[name]

    @property
    def nbytes(self) -> int:
        """Bytes of the shared vectors and of all domains."""
        return self.vectors.nbytes + sum(domain.nbytes for domain in self._domains.values())

    @property
    def merged_bytes(self) -> int:
        """Bytes of one index of whole vectors (and biases and rows) for each domain instead."""
        return sum(domain.merged_bytes for domain in self._domains.values())


class AugmentedDomain(CatalogueIndex):
    """One domain of an `AugmentedIndex`; item rows are positions in its catalogue.

    Args:
        shared: float32 (n, d).
        factors: Checked.
        unit_items: Whether items are compared at norm 1.
        item_rows: What items are called; None: 0 … c-1.
    """

    def __init__(
        self, shared: Floats, factors: DomainFactors, unit_items: bool,
        item_rows: Ints | None = None,
    ) -> None:  # fmt: skip
        self._shared, self.factors, self._unit = shared, factors, unit_items
        self.item_rows = np.arange(len(factors), dtype=np.int64) if item_rows is None else item_rows
        self.dim = shared.shape[1]
        own = factors.base_rows < 0
        self._place = np.where(own, np.cumsum(own) - 1, factors.base_rows)
        self._inverse, self._reach = self._lengths()

    def _lengths(self) -> tuple[Floats | None, float]:
        """Inverse norms float32 (c,) of cosine, and the largest |(v, a)| · inverse norm."""
        inverse = np.ones(len(self), dtype=np.float32)
        reach = 0.0
        for start, stop in self._blocks():
            positions = np.arange(start, stop)
            if self._unit:
                norms = np.linalg.norm(self._moved(positions), axis=1)
                inverse[start:stop] = 1.0 / np.where(norms > 0, norms, 1.0)
            stored = self._stored(positions) * inverse[start:stop, None]
            reach = max(reach, largest_norm(stored))
        return (inverse if self._unit else None), reach

    @property
    def nbytes(self) -> int:
        """Bytes of the domain alone."""
        norms = 0 if self._inverse is None else self._inverse.nbytes
        return self.factors.nbytes + norms + self.item_rows.nbytes + self._place.nbytes

    @property
    def merged_bytes(self) -> int:
        """Bytes of whole vectors, biases and rows of the same items."""
        width = self.dim + (self.factors.bias is not None)
        return len(self) * (width * 4 + self.item_rows.itemsize)

    def merged(self) -> CatalogueVectors:
        """The same catalogue with whole vectors, for an index of its own."""
        vectors = self._compared(np.arange(len(self))).astype(np.float32)
        return CatalogueVectors.of(vectors, self.item_rows, self.factors.bias)

    def only(self, item_rows: npt.ArrayLike) -> AugmentedDomain:
        every = CatalogueVectors(np.empty((len(self), 0), np.float32), self.item_rows, 0)
        kept = every.positions(item_rows)
        f = self.factors
        own = f.base_rows[kept] < 0
        factors = replace(
            f,
            base_rows=f.base_rows[kept],
            a=f.a[kept],
            own=f.own[self._place[kept][own]],
            bias=None if f.bias is None else f.bias[kept],
        )
        return AugmentedDomain(self._shared, factors, self._unit, self.item_rows[kept])

    def _blocks(self) -> list[tuple[int, int]]:
        step = max(1, BUDGET // (4 * (self.dim + self.factors.a.shape[1] + 1)))
        return [(at, min(at + step, len(self))) for at in range(0, len(self), step)]

    def _stored(self, positions: Ints) -> Floats:
        """(v_i, a_i) float32 (p, d + r)."""
        f = self.factors
        place, own = self._place[positions], f.base_rows[positions] < 0
        vectors = np.empty((len(positions), self.dim), dtype=np.float32)
        vectors[~own] = self._shared[place[~own]]
        vectors[own] = f.own[place[own]]
        return np.concatenate([vectors, f.a[positions]], axis=1)

    def _moved(self, positions: Ints) -> Wide:
        """(v_i + a_i B) T, float64 (p, d)."""
        stored, f = self._stored(positions).astype(np.float64), self.factors
        raw = stored[:, : self.dim] + stored[:, self.dim :] @ f.b.astype(np.float64)
        moved: Wide = raw + (raw @ f.p.astype(np.float64)) @ f.q.astype(np.float64)
        return moved

    def _compared(self, positions: Ints) -> Wide:
        """Whole vectors as they are compared: of norm 1 for cosine."""
        moved = self._moved(positions)
        if not self._unit:
            return moved
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        scaled: Wide = moved / np.where(norms > 0, norms, 1.0)
        return scaled

    def _queries(self, user_vectors: npt.ArrayLike) -> Floats:
        users = checked("user vectors", user_vectors)
        if users.shape[1] != self.dim:
            raise DataError(
                f"User vectors have {users.shape[1]} dimensions, the items {self.dim}. "
                f"Expected vectors of the same model."
            )
        largest = largest_norm(self._asked(users)) * self._reach
        if largest >= float(np.finfo(np.float32).max):
            raise DataError(
                f"Scores may be as large as {largest:.3g}, more than float32 can hold. Expected "
                f"vectors of moderate length; the model has diverged, train it again."
            )
        return users

    def _asked(self, users: Floats) -> Wide:
        """(u', u' Bᵀ), float64 (b, d + r)."""
        f, wide = self.factors, users.astype(np.float64)
        turned = wide + (wide @ f.q.astype(np.float64).T) @ f.p.astype(np.float64).T
        return np.concatenate([turned, turned @ f.b.astype(np.float64).T], axis=1)

    def _held(self, fetch: int) -> int:
        return len(self) + fetch * (self.dim + 1)

    def _candidates(self, users: Floats, fetch: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        asked, bias = self._asked(users), self.factors.bias
        narrow = asked.astype(np.float32)
        scores = np.empty((len(users), len(self)), dtype=np.float32)
        for start, stop in self._blocks():
            part = narrow @ self._stored(np.arange(start, stop)).T
            if self._inverse is not None:
                part *= self._inverse[start:stop]
            scores[:, start:stop] = part if bias is None else part + bias[start:stop]
        positions = np.argpartition(-scores, fetch - 1, axis=1)[:, :fetch]
        least = np.take_along_axis(scores, positions, axis=1).min(axis=1)
        # Rounding of query, stored lengths, sum (Higham 2002, section 3.1) and bias.
        terms = self.dim + self.factors.a.shape[1] + 6
        norms = np.linalg.norm(asked, axis=1)
        largest_bias = 0.0 if bias is None else float(np.abs(bias).max(initial=0.0))
        error = 2.0**-23 * (terms * norms * self._reach + 4 * largest_bias)
        return positions.astype(np.int64), least + error

    def _rescored(self, users: Floats, positions: Ints) -> Floats:
        distinct, place = np.unique(positions, return_inverse=True)
        vectors = self._compared(distinct)[place.reshape(positions.shape)]
        scores: Wide = np.einsum("bfd,bd->bf", vectors, users.astype(np.float64))
        if self.factors.bias is not None:
            scores += self.factors.bias[positions]
        return scores.astype(np.float32)

    def _scores(self, users: Floats) -> Floats:
        scores = np.empty((len(users), len(self)), dtype=np.float32)
        wide, bias = users.astype(np.float64), self.factors.bias
        for start, stop in self._blocks():
            part = wide @ self._compared(np.arange(start, stop)).T
            scores[:, start:stop] = part if bias is None else part + bias[start:stop]
        return scores
