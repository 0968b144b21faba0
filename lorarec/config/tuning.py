"""The section `[tune]`: what `lorarec tune` searches, and how long."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from lorarec.config.section import Positive, Section, listed


def _range(value: tuple[float, ...]) -> tuple[float, ...]:
    if value and (len(value) != 2 or value[0] >= value[1]):
        raise ValueError("the lowest and the highest value, such as 0.003,0.3, or none: []")
    return value


def _choices(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) != len(value):
        raise ValueError("values of which none stands there twice, or none: []")
    return value


Range = Annotated[tuple[Positive, ...], BeforeValidator(listed), AfterValidator(_range)]
AtLeastZero = Annotated[float, Field(ge=0.0)]


class Tune(Section):
    """What `lorarec tune` searches.

    A range is searched by its logarithm, a list as it stands; both are widened to hold the setting
    itself, which is trial 0. An empty one, `[]`, leaves the setting as it is.
    """

    trials: int = Field(default=20, ge=1)
    """Trainings in all, the settings as they are among them."""

    learning_rate: Range = (0.003, 0.3)
    """Lowest and highest `train.learning_rate`, above 0."""

    temperature: Range = (0.05, 0.5)
    """Lowest and highest `model.temperature`, above 0; searched where the loss has a fixed one."""

    dims: Annotated[
        tuple[Annotated[int, Field(ge=1, le=4096)], ...],
        BeforeValidator(listed),
        AfterValidator(_choices),
    ] = (64, 128, 256)
    """Values of `model.dim`, each 1 to 4096."""

    weight_decays: Annotated[
        tuple[AtLeastZero, ...], BeforeValidator(listed), AfterValidator(_choices)
    ] = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
    """Values of `train.weight_decay`, each 0 or more."""

    margins: Annotated[
        tuple[Annotated[float, Field(ge=-1.0, lt=1.0)], ...],
        BeforeValidator(listed),
        AfterValidator(_choices),
    ] = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
    """Values of `train.margin`, from -1 to below 1; searched where the loss is `ccl`."""

    negative_weights: Annotated[
        tuple[AtLeastZero, ...], BeforeValidator(listed), AfterValidator(_choices)
    ] = (10.0, 30.0, 100.0, 150.0, 300.0, 1000.0)
    """Values of `train.negative_weight`, each 0 or more; searched where the loss is `ccl`."""
