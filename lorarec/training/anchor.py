"""The proximal term: a pull of a parameter back to where its training began."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Anchor:
    """Where a parameter began, and how strongly each of its rows is held there.

        w_i ← w_i - lr · (update_i + λ_i · (w_i - w_i⁰))

    The step of λ/2 · ‖w - w⁰‖² as in FedProx (Li et al. 2020), decoupled from the moments as weight
    decay is in AdamW (Loshchilov and Hutter 2019), so that λ means the same for every gradient: a
    step without one leaves 1 - lr · λ of the distance. Of tables only a batch's rows are pulled.
    """

    start: Tensor
    """w⁰, as the parameter."""
    strength: Tensor
    """λ: float (n,), one a row, 0 or above."""

    def pull(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """λ · (w - w⁰).

        Args:
            values: float (r, ...): rows of the parameter.
            rows: int64 (r,): which they are; None is all.
        """
        start, strength = self.start, self.strength
        if rows is not None:
            start, strength = start.index_select(0, rows), strength.index_select(0, rows)
        return (values - start) * strength.view(-1, *(1,) * (values.dim() - 1))
