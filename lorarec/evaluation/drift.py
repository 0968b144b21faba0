"""How far what is held out is from what was trained on, beside what chance alone would make."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """From train to a held-out part.

    Attributes:
        items: Jensen-Shannon divergence of the two distributions of rows over items, in bits:
            0 is the same, 1 is no item in common (Lin 1991).
        items_by_chance: Its mean where as many rows as are held out are drawn from train's
            distribution: a divergence near it is no drift.
        new_item_rows: Share of held-out rows whose item has no train row.
        new_users: Share of held-out users without a train row.
    """

    items: float
    items_by_chance: float
    new_item_rows: float
    new_users: float

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


def divergence(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Jensen-Shannon divergence, in bits, of two distributions given as counts of the same places.

    Raises:
        DataError: The shapes differ, or one has no count.
    """
    p, q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if p.shape != q.shape or not p.sum() > 0 or not q.sum() > 0:
        raise DataError(
            f"Counts have shapes {p.shape} and {q.shape} and sums {p.sum():g} and {q.sum():g}. "
            f"Expected two of one shape, each with something in it."
        )
    p, q = p / p.sum(), q / q.sum()
    return _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2


def drift(
    train: npt.ArrayLike,
    held_out: npt.ArrayLike,
    new_users: float,
    *,
    draws: int = 20,
    seed: int = 0,
) -> Drift:
    """Drift of a part.

    Args:
        train: (n,) train rows of each item, of all items that either part has.
        held_out: (n,) held-out rows of each.
        new_users: Share of held-out users without a train row.
        draws: Samples behind what chance makes.
        seed: Of the draws.

    Raises:
        DataError: One of the parts has no row.
    """
    before, after = np.asarray(train, dtype=np.float64), np.asarray(held_out, dtype=np.float64)
    found = divergence(before, after)
    rng = np.random.default_rng(seed)
    sampled = rng.multinomial(int(after.sum()), before / before.sum(), size=draws)
    return Drift(
        items=found,
        items_by_chance=float(np.mean([divergence(before, own) for own in sampled])),
        new_item_rows=float(after[before == 0].sum() / after.sum()),
        new_users=new_users,
    )


def _entropy(p: Floats) -> float:
    some = p[p > 0]
    return float(-(some * np.log2(some)).sum())
