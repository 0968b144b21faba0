"""How far two adapters of one base are apart: in each target, in blocks, never table by table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lorarec.data.vocabulary import Vocabulary
from lorarec.lora.algebra import BLOCK
from lorarec.lora.products import Product, singular_values, stacked
from lorarec.lora.state import TABLES, AdapterState, check_same_base


@dataclass(frozen=True)
class Change:
    """One part of two adapters, a and b, side by side."""

    part: str
    """`users`, `items`, `grown users`, `grown items`, `transform`, a tower's layer or `bias`."""
    only_a: int
    """Rows that a alone has: touched, grown, or with a bias; 0 for the transform and for layers."""
    only_b: int
    both: int
    mean: float
    """Mean |e_a - e_b| over the rows of either; of grown rows over those of both, of the bias over
    items of either. Of the transform and of layers the root mean square over unit vectors,
    ‖D‖_F / √in with D the difference of the two matrices, constants aside."""
    largest: float
    """The largest of them; of a matrix the largest that a unit vector can have, ‖D‖_2."""
    mean_a: float
    """Mean |e_a - base| over the same rows; of grown rows mean |g_a|. Of a matrix as `mean`."""
    mean_b: float


def difference(a: AdapterState, b: AdapterState) -> list[Change]:
    """What changes from one adapter to another.

    Rows are compared by what they are moved by, e_a - e_b = δ_a - δ_b, so the base is not needed.
    Each list holds the parts that either adapter has.

    Raises:
        AdapterMismatchError: They are of different bases.
    """
    check_same_base([a, b])
    found = [_rows(a, b, name) for name in TABLES]
    found += [_grown(a, b, name) for name in TABLES]
    linear = dict.fromkeys([*a.linear_targets, *b.linear_targets])
    found += [*(_linear(a, b, name) for name in linear), _bias(a, b)]
    return [change for change in found if change is not None]


class _Norms:
    """Mean and largest of lengths that come in blocks."""

    def __init__(self) -> None:
        self._sum, self._count, self.largest = 0.0, 0, 0.0

    def add(self, lengths: Tensor) -> None:
        self._sum += float(lengths.double().sum())
        self._count += len(lengths)
        if len(lengths):
            self.largest = max(self.largest, float(lengths.max()))

    @property
    def mean(self) -> float:
        return self._sum / self._count if self._count else 0.0


def _rows(a: AdapterState, b: AdapterState, name: str) -> Change | None:
    either = torch.unique(torch.cat([a.rows(name), b.rows(name)]))
    if not len(either):
        return None
    apart, by_a, by_b = _Norms(), _Norms(), _Norms()
    for start in range(0, len(either), BLOCK):
        rows = either[start : start + BLOCK]
        moved_a, moved_b = _moved(a, name, rows), _moved(b, name, rows)
        apart.add((moved_a - moved_b).norm(dim=1))
        by_a.add(moved_a.norm(dim=1))
        by_b.add(moved_b.norm(dim=1))
    return _change(name, len(a.rows(name)), len(b.rows(name)), len(either), apart, by_a, by_b)


def _moved(state: AdapterState, name: str, rows: Tensor) -> Tensor:
    """δ of any known rows: int64 (n,) → float32 (n, d), 0 where a row is not touched."""
    moved = torch.zeros(len(rows), state.dim)
    own = state.rows(name)
    if len(own):
        slots = torch.searchsorted(own, rows).clamp(max=len(own) - 1)
        touched = own[slots] == rows
        moved[touched] = state.delta(name, slots[touched])
    return moved


def _grown(a: AdapterState, b: AdapterState, name: str) -> Change | None:
    ids_a, ids_b = Vocabulary(a.grown[name]), Vocabulary(b.grown[name])
    if not len(ids_a) and not len(ids_b):
        return None
    place = torch.from_numpy(ids_b.rows(ids_a.series, missing="mark"))
    both = place >= 0
    vectors_a, vectors_b = a.tensors[f"{name}.grown"], b.tensors[f"{name}.grown"]
    apart, by_a, by_b = _Norms(), _Norms(), _Norms()
    apart.add((vectors_a[both] - vectors_b[place[both]]).norm(dim=1))
    by_a.add(vectors_a.norm(dim=1))
    by_b.add(vectors_b.norm(dim=1))
    either = len(ids_a) + len(ids_b) - int(both.sum())
    return _change(f"grown {name}", len(ids_a), len(ids_b), either, apart, by_a, by_b)


def _linear(a: AdapterState, b: AdapterState, name: str) -> Change | None:
    """The transform or a layer: matrices, of which only factors are multiplied."""
    moved = [state.linear(name) for state in (a, b)]
    signed = [
        Product(sign * product.left, product.right)
        for product, sign in zip(moved, (1.0, -1.0), strict=True)
        if product is not None
    ]
    if not signed:
        return None
    root = math.sqrt(signed[0].right.shape[1])
    values = singular_values(stacked(signed))
    own = [
        0.0 if product is None else float(singular_values(product).norm()) / root
        for product in moved
    ]
    mean = float(values.norm()) / root
    return Change(name, 0, 0, 0, mean, float(values.max()), own[0], own[1])


def _bias(a: AdapterState, b: AdapterState) -> Change | None:
    """β by item, each side's constant where it has none of its own; grown items by their ids."""
    grown = Vocabulary(a.grown["items"]).extend(b.grown["items"])
    own_a, own_b = a.bias_rows(grown), b.bias_rows(grown)
    either = torch.unique(torch.cat([own_a, own_b]))
    if not len(either):
        return None
    by_item = [state.bias(either, grown) for state in (a, b)]
    apart, by_a, by_b = _Norms(), _Norms(), _Norms()
    apart.add((by_item[0] - by_item[1]).abs())
    by_a.add(by_item[0].abs())
    by_b.add(by_item[1].abs())
    return _change("bias", len(own_a), len(own_b), len(either), apart, by_a, by_b)


def _change(
    part: str, in_a: int, in_b: int, either: int, apart: _Norms, by_a: _Norms, by_b: _Norms
) -> Change:
    return Change(
        part,
        only_a=either - in_b,
        only_b=either - in_a,
        both=in_a + in_b - either,
        mean=apart.mean,
        largest=apart.largest,
        mean_a=by_a.mean,
        mean_b=by_b.mean,
    )
