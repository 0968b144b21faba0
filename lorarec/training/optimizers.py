"""Row-sparse Adam: only the rows that a batch touched move, each with its own step count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """Adam that treats a table as many small parameters, one a row.

    For a parameter with a sparse gradient, only the rows of the (coalesced) gradient are read or
    written, and the bias correction uses the row's own number of steps t_i:

        m_i ← β1 m_i + (1 - β1) g_i,   v_i ← β2 v_i + (1 - β2) g_i²
        w_i ← w_i - lr · (m_i / (1 - β1^t_i)) / (√(v_i / (1 - β2^t_i)) + ε) - lr · λ · w_i

    A dense Adam keeps moving rows after their last touch, and a global step count makes a row's
    first step too large (Kingma and Ba 2015 for Adam; the per-row count is ours). Weight decay λ is
    decoupled and pulls touched rows only, toward zero: for a delta that is toward the base.
    Parameters with a dense gradient get plain AdamW.

    Args:
        params: Parameters or groups; a group may have its own `lr` and `weight_decay`.
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the touched rows of every parameter once."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    self._step_rows(parameter, parameter.grad.coalesce(), group)
                else:
                    self._step_dense(parameter, parameter.grad, group)
        return loss

    def _state(self, parameter: Tensor, steps: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = steps
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        return state

    def _step_rows(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self._state(parameter, torch.zeros(len(parameter), device=parameter.device))
        rows, values = grad.indices().squeeze(0), grad.values()
        if not len(rows):
            return
        beta1, beta2 = group["betas"]
        steps = state["step"].index_select(0, rows) + 1
        mean = state["mean"].index_select(0, rows).lerp_(values, 1 - beta1)
        square = state["square"].index_select(0, rows)
        square.mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["step"].index_copy_(0, rows, steps)
        state["mean"].index_copy_(0, rows, mean)
        state["square"].index_copy_(0, rows, square)
        shape = (-1,) + (1,) * (values.dim() - 1)
        correct1 = (1 - beta1**steps).view(shape)
        correct2 = (1 - beta2**steps).sqrt().view(shape)
        # lr · (m / c1) / (√v / c2 + ε), with the two corrections folded into one factor a row.
        update = (mean / correct1) / (square.sqrt_() / correct2 + group["eps"])
        if group["weight_decay"]:
            update.add_(parameter.index_select(0, rows), alpha=group["weight_decay"])
        parameter.index_add_(0, rows, update, alpha=-group["lr"])

    def _step_dense(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self._state(parameter, torch.zeros((), device=parameter.device))
        beta1, beta2 = group["betas"]
        state["step"] += 1
        state["mean"].lerp_(grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        mean = state["mean"] / (1 - beta1 ** state["step"])
        root = (state["square"] / (1 - beta2 ** state["step"])).sqrt()
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, root + group["eps"], value=-group["lr"])
