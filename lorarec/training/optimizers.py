"""Row-sparse optimisers for tables: only the rows that a batch touched are read or written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def coalesced(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a row-sparse gradient, ascending, and their summed values.

    Lookups of rows that were distinct and sorted already leave nothing to sort; that is seen in
    one pass over the row numbers.

    Returns:
        int64 (r,) and float (r, ...).
    """
    if not grad.is_coalesced():
        rows = grad._indices()[0]
        # Asking a GPU whether they are sorted would wait for it longer than a sort takes.
        if rows.device.type != "cpu" or not bool((rows[1:] > rows[:-1]).all()):
            grad = grad.coalesce()
    return grad._indices()[0], grad._values()


class RowOptimizer(torch.optim.Optimizer):
    """What row-sparse optimisers share: a step costs O(rows of the batch), whatever the table has.

    Weight decay λ is decoupled from the moments and pulls touched rows only, toward zero: for a
    delta that is toward the base.

        w_i ← w_i - lr · (update_i + (λ + p_i) · w_i)      for the rows i of the gradient

    Args:
        params: Parameters or groups; a group may have its own `lr` and `weight_decay`, and for its
            one table `pulls`: p, float (V,), 0 or more, what λ has besides in each row; and an
            `anchor` of its one parameter.
        defaults: Of a group.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the touched rows of every parameter once.

        Raises:
            TypeError: A gradient is not row-sparse.
        """
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not parameter.grad.is_sparse:
                    raise TypeError(
                        f"{type(self).__name__} takes row-sparse gradients, and one of shape "
                        f"{tuple(parameter.shape)} is dense. Expected a table that is looked up "
                        f"with sparse=True; HybridOptimizer takes both kinds."
                    )
                self._move(parameter, *coalesced(parameter.grad), group)
        return loss

    def _move(self, parameter: Tensor, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if not len(rows):
            return
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state.update(self._fresh(parameter))
        update = self._update(state, rows, grad, group)
        values = parameter.index_select(0, rows)
        if group["weight_decay"]:
            update.add_(values, alpha=group["weight_decay"])
        if (anchor := group.get("anchor")) is not None:
            update.add_(anchor.pull(values, rows))
        if (pulls := group.get("pulls")) is not None:
            own = pulls.index_select(0, rows).view((-1,) + (1,) * (values.dim() - 1))
            # A pull above 1 / lr would throw a row past zero to its other side.
            update.addcmul_(values, own.clamp(max=1 / group["lr"]) if group["lr"] else own)
        # Rows are distinct here, so they can be written back; index_add_ is three times slower.
        parameter.index_copy_(0, rows, values.add_(update, alpha=-group["lr"]))

    @abstractmethod
    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        """State of a parameter that was never touched: zeros, a row each."""

    @abstractmethod
    def _update(
        self, state: dict[str, Tensor], rows: Tensor, grad: Tensor, group: dict[str, Any]
    ) -> Tensor:
        """Take the gradient into the rows' state; the step that follows, before lr: (r, ...)."""


class RowAdam(RowOptimizer):
    """Adam that treats a table as many small parameters, one a row.

    The bias correction uses the row's own number of steps t_i:

        m_i ← β1 m_i + (1 - β1) g_i,   v_i ← β2 v_i + (1 - β2) g_i²
        update_i = (m_i / (1 - β1^t_i)) / (√(v_i / (1 - β2^t_i)) + ε)

    A dense Adam keeps moving rows after their last touch, and a global step count makes a row's
    first step too large (Kingma and Ba 2015 for Adam; the per-row count is ours).

    Args:
        params: Parameters or groups.
        lr: Step size.
        betas: β1, β2.
        eps: ε.
        weight_decay: λ.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        # A row's two moments lie beside each other: one place in memory to fetch and not two.
        shape = (len(parameter), 2, *parameter.shape[1:])
        return {
            "step": torch.zeros(len(parameter), device=parameter.device),
            "moments": torch.zeros(shape, dtype=parameter.dtype, device=parameter.device),
        }

    def _update(
        self, state: dict[str, Tensor], rows: Tensor, grad: Tensor, group: dict[str, Any]
    ) -> Tensor:
        beta1, beta2 = group["betas"]
        steps = state["step"].index_select(0, rows) + 1
        moments = state["moments"].index_select(0, rows)
        mean, square = moments.unbind(1)
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        state["step"].index_copy_(0, rows, steps)
        state["moments"].index_copy_(0, rows, moments)
        shape = (-1,) + (1,) * (grad.dim() - 1)
        correct1 = (1 - beta1**steps).view(shape)
        correct2 = (1 - beta2**steps).sqrt().view(shape)
        # (m / c1) / (√v / c2 + ε), with one correction a row.
        return mean.div(correct1).div_(square.sqrt().div_(correct2).add_(group["eps"]))


class RowAdagrad(RowOptimizer):
    """Adagrad with one number a row: the sum of its mean squared gradients.

        G_i ← G_i + mean_d(g_i²),   update_i = g_i / (√G_i + ε)

    Duchi et al. 2011 for Adagrad, one accumulator a row as in Facebook's DLRM (Naumov et al. 2019).
    State is 1/d of the table, where Adam has two tables and a count.

    Args:
        params: Parameters or groups.
        lr: Step size.
        eps: ε.
        weight_decay: λ.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"sum": torch.zeros(len(parameter), device=parameter.device)}

    def _update(
        self, state: dict[str, Tensor], rows: Tensor, grad: Tensor, group: dict[str, Any]
    ) -> Tensor:
        total = state["sum"].index_select(0, rows)
        total += grad.flatten(1).square().mean(1)
        state["sum"].index_copy_(0, rows, total)
        shape = (-1,) + (1,) * (grad.dim() - 1)
        update: Tensor = grad / (total.sqrt_() + group["eps"]).view(shape)
        return update
