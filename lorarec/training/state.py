"""A training as tensors and numbers, taken for a checkpoint and put back from one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lorarec.errors import ArtifactError
from lorarec.training.checkpoint import State

if TYPE_CHECKING:
    from lorarec.training.loop import Training


def captured(training: Training) -> tuple[dict[str, Tensor], State]:
    """All that the rest of a training depends on; the tensors are not copied."""
    history = training.history
    tensors: dict[str, Tensor] = {}
    for prefix, values in (
        ("parameter", training.parameters),
        ("best", training.best),
        ("average", training.average.values),
        ("optimizer", training.optimizer.state_dict()),
        ("random", _random(training)),
    ):
        tensors |= {f"{prefix}/{name}": tensor for name, tensor in values.items()}
    return tensors, State(
        step=training.step,
        epoch=training.epoch,
        batch=training.batch,
        batch_size=training.batch_size,
        loss=training.loss,
        rows=training.rows,
        first_loss=training.first_loss,
        waited=training.waited,
        averaged=training.average.epochs,
        epochs=history.epochs,
        best_epoch=history.best_epoch,
        best=history.best,
        seconds=history.seconds + time.perf_counter() - training.started,
    )


def restore(training: Training, tensors: Mapping[str, Tensor], state: State) -> None:
    """Put a training where it was when it was captured.

    Raises:
        ArtifactError: The parameters are not those of this training.
    """
    own = _part(tensors, "parameter")
    found = {name: tuple(tensor.shape) for name, tensor in own.items()}
    wanted = {name: tuple(p.shape) for name, p in training.parameters.items()}
    if found != wanted:
        differing = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        raise ArtifactError(
            f"The checkpoint has other parameters than this training: {differing[:5]}, with the "
            f"shapes {[found.get(n) for n in differing[:5]]} where "
            f"{[wanted.get(n) for n in differing[:5]]} were expected. Begin anew in another folder."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            training.parameters[name].copy_(tensor)
    device = training.device
    training.best = {n: t.to(device) for n, t in _part(tensors, "best").items()}
    training.average.restore(
        {n: t.to(device) for n, t in _part(tensors, "average").items()}, state.averaged
    )
    training.optimizer.load_state_dict(_part(tensors, "optimizer"))
    _set_random(training, _part(tensors, "random"))
    training.step, training.epoch, training.batch = state.step, state.epoch, state.batch
    training.batch_size, training.waited = state.batch_size, state.waited
    training.loss, training.rows, training.first_loss = state.loss, state.rows, state.first_loss
    history = training.history
    history.epochs = [dict(metrics) for metrics in state.epochs]
    history.best_epoch, history.best = state.best_epoch, state.best
    history.seconds = state.seconds


def _random(training: Training) -> dict[str, Tensor]:
    found = {
        "order": training.order,
        "draws": training.generator.get_state(),
        "layers": torch.get_rng_state(),
    }
    if training.device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(training.device)
    return found


def _set_random(training: Training, states: Mapping[str, Tensor]) -> None:
    training.order, training.draws = states["order"], states["draws"]
    training.generator.set_state(training.draws)
    torch.set_rng_state(states["layers"])
    if training.device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], training.device)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
