"""The linear layers of two towers, by name, and a tower in which others stand in for them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from torch import nn

from lorarec.lora.delta import Delta
from lorarec.models.base import BaseModel

TOWERS = ("user_tower", "item_tower")
"""The modules of a model whose linear layers an adapter can stand in for."""


def tower_layers(model: BaseModel) -> dict[str, nn.Linear]:
    """The linear layers of a base's towers, such as `item_tower.layers.0`.

    Features that are brought to d by a linear layer have one, too. Empty for a model without
    towers; `transform`, which any model has, is not among them. Of an adapted model they are the
    base's, which the adapter's stand in for.
    """
    return {
        f"{tower}.{path}": layer
        for tower in TOWERS
        for path, module in _within(model, tower)
        if (layer := plain_layer(module)) is not None
    }


def plain_layer(module: nn.Module) -> nn.Linear | None:
    """A linear layer of the base: the module itself, or what it stands in for; None for others."""
    behind = getattr(module, "base", None) if isinstance(module, Delta) else module
    return behind if isinstance(behind, nn.Linear) else None


def largest_ranks(model: BaseModel) -> dict[str, int]:
    """The largest rank of each of them: the smaller side of the layer."""
    layers = tower_layers(model)
    return {name: min(layer.in_features, layer.out_features) for name, layer in layers.items()}


def tower_deltas(model: BaseModel) -> dict[str, Delta]:
    """What an adapter has in place of some of them."""
    return {
        f"{tower}.{path}": module
        for tower in TOWERS
        for path, module in _within(model, tower)
        if isinstance(module, Delta)
    }


def read_by_histories(model: BaseModel, names: Iterable[str]) -> list[str]:
    """The layers among `names` that users' histories read too: theirs are always the base's."""
    if getattr(model, "history", None) is None:
        return []
    return [name for name in names if name.startswith("item_tower.features.")]


def with_layers(model: BaseModel, layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Towers that have other layers in some places and share all else.

    Args:
        model: Has the towers.
        layers: By the names of `tower_layers`.

    Returns:
        Tower by name, as `BaseModel.replaced` takes them; only those in which anything changes.
    """
    found: dict[str, nn.Module] = {}
    for tower in TOWERS:
        start = f"{tower}."
        own = {
            name.removeprefix(start): layer
            for name, layer in layers.items()
            if name.startswith(start)
        }
        if own:
            found[tower] = _swapped(getattr(model, tower), own)
    return found


def _within(model: BaseModel, tower: str) -> list[tuple[str, nn.Module]]:
    module = getattr(model, tower, None)
    return [] if module is None else list(module.named_modules())


def _swapped(module: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    """A shallow copy along the paths of `parts`; whatever is not on one of them is shared."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    below: dict[str, dict[str, nn.Module]] = {}
    for path, part in parts.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = part
        else:
            copied._modules[name] = part
    for name, some in below.items():
        child = module._modules[name]
        assert child is not None
        copied._modules[name] = _swapped(child, some)
    return copied
