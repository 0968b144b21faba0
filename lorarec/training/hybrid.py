"""One optimiser over tables and dense layers, each kind with what suits it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lorarec.training.anchor import Anchor
from lorarec.training.optimizers import RowAdagrad, RowAdam, RowOptimizer, coalesced

OptimizerName = Literal["adam", "adagrad"]
ROWS: dict[OptimizerName, type[RowAdam] | type[RowAdagrad]] = {
    "adam": RowAdam,
    "adagrad": RowAdagrad,
}
Norm = Callable[[Sequence[nn.Parameter]], Tensor]
"""Of the gradients of some parameters together, float ()."""


class HybridOptimizer:
    """Parameters with row-sparse gradients go to a row optimiser, dense ones to AdamW.

    Which is which shows at a parameter's first gradient. AdamW is torch's, fused into one kernel
    (Loshchilov and Hutter 2019). Both have the same decay, and the same step size but for `rates`.

    Args:
        parameters: By name; the names are those of the state.
        name: Of the row optimiser: `adam` or `adagrad`.
        lr: Step size.
        weight_decay: λ, 0 or more.
        clip_norm: Largest norm of all gradients together; None does not clip.
        rates: Beginning of a parameter's name → multiple of the step size; the first that fits.
        anchors: A parameter's name → where it is pulled back to at every step that moves it.
        pulls: Name of a table → float (V,): decay of each of its rows besides λ.
        norm: What `clip_norm` bounds; None is `gradient_norm`.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        name: OptimizerName = "adam",
        lr: float = 0.01,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        rates: Mapping[str, float] = MappingProxyType({}),
        anchors: Mapping[str, Anchor] = MappingProxyType({}),
        pulls: Mapping[str, Tensor] = MappingProxyType({}),
        norm: Norm | None = None,
    ) -> None:
        self._parameters = dict(parameters)
        self._make_rows = ROWS[name]
        self._options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self._clip_norm = clip_norm
        self._norm = norm or gradient_norm
        self._rates = dict(rates)
        self._anchors = dict(anchors)
        self._pulls = dict(pulls)
        self._kinds: dict[str, str] = {}
        self._rows: RowOptimizer | None = None
        self._dense: torch.optim.AdamW | None = None

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def step(self, scale: float = 1.0) -> None:
        """Move every parameter that has a gradient once.

        Args:
            scale: What a schedule multiplies the step size with, 0 or above.
        """
        for name, parameter in self._parameters.items():
            if parameter.grad is not None and name not in self._kinds:
                self._add(name, "rows" if parameter.grad.is_sparse else "dense")
        if self._clip_norm is not None:
            clip_gradients(self._parameters.values(), self._clip_norm, self._norm)
        for optimizer in (self._rows, self._dense):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = self._options["lr"] * group["rate"] * scale
                    if optimizer is self._dense and group["anchor"] is not None:
                        _pull(group["params"][0], group["anchor"], group["lr"])
                optimizer.step()

    def _add(self, name: str, kind: str) -> None:
        self._kinds[name] = kind
        rates = (rate for start, rate in self._rates.items() if name.startswith(start))
        parameter = self._parameters[name]
        group: dict[str, Any] = {
            "params": [parameter],
            "rate": next(rates, 1.0),
            "anchor": self._anchors.get(name),
        }
        if kind == "rows":
            if name in self._pulls:
                group["pulls"] = self._pulls[name].to(parameter.device)
            if self._rows is None:
                self._rows = self._make_rows([group], **self._options)
            else:
                self._rows.add_param_group(group)
        elif self._dense is None:
            self._dense = torch.optim.AdamW(
                [group],
                **self._options,
                fused=parameter.device.type in ("cpu", "cuda"),
            )
        else:
            self._dense.add_param_group(group)

    def state_dict(self) -> dict[str, Tensor]:
        """All state as tensors, such as `rows/users.weight/mean`; they are not copied."""
        return {
            f"{kind}/{name}/{part}": torch.as_tensor(value)
            for name, kind in self._kinds.items()
            for part, value in self._optimizer(kind).state[self._parameters[name]].items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the state of an optimiser over the same parameters; it is copied.

        Raises:
            KeyError: A parameter is not known here.
        """
        found: dict[tuple[str, str], dict[str, Tensor]] = {}
        for key, value in state.items():
            (kind, rest), part = key.split("/", 1), key.rsplit("/", 1)[1]
            found.setdefault((kind, rest.rsplit("/", 1)[0]), {})[part] = value
        for (kind, name), parts in found.items():
            parameter = self._parameters[name]
            if name not in self._kinds:
                self._add(name, kind)
            self._optimizer(kind).state[parameter] = {
                part: value.clone().to(parameter.device) for part, value in parts.items()
            }

    def _optimizer(self, kind: str) -> torch.optim.Optimizer:
        found = self._rows if kind == "rows" else self._dense
        assert found is not None
        return found


@torch.no_grad()
def _pull(parameter: Tensor, anchor: Anchor, rate: float) -> None:
    """The proximal step of a dense parameter, from the values that AdamW is about to move."""
    parameter.sub_(anchor.pull(parameter), alpha=rate)


@torch.no_grad()
def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The 2-norm of gradients together, those of tables coalesced: float ()."""
    values = [_values(p.grad) for p in parameters if p.grad is not None]
    if not values:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(value) for value in values])
    )
    return norm


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter], limit: float, norm_of: Norm | None = None
) -> Tensor:
    """Scale all gradients alike where their norm together is above a limit.

        g ← g · min(1, limit / ‖g‖)      Pascanu et al. 2013

    Duplicate rows of a sparse gradient are summed first, so that the norm is that of the gradient
    and not of its parts; the work is O(touched rows).

    Args:
        parameters: With or without a gradient.
        limit: Above 0.
        norm_of: What gives the norm; None is `gradient_norm`.

    Returns:
        The norm before, float ().
    """
    moved = list(parameters)
    for parameter in moved:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = _coalesced_grad(*coalesced(parameter.grad), parameter)
    norm = (norm_of or gradient_norm)(moved)
    factor = (limit / norm.clamp(min=1e-12)).clamp(max=1.0)
    for parameter in moved:
        if parameter.grad is not None:
            _values(parameter.grad).mul_(factor)
    return norm


def _values(grad: Tensor) -> Tensor:
    values: Tensor = grad._values() if grad.is_sparse else grad
    return values


def _coalesced_grad(rows: Tensor, values: Tensor, parameter: Tensor) -> Tensor:
    grad: Tensor = torch.sparse_coo_tensor(
        rows.unsqueeze(0), values, parameter.shape, is_coalesced=True, check_invariants=False
    )
    return grad
