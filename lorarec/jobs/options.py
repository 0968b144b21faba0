"""The settings as options of the training loop, the same way for a base and for an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from lorarec.config import Adapt, Train
from lorarec.errors import ConfigError
from lorarec.models.base import BaseModel
from lorarec.training.loop import Options
from lorarec.training.objective import Objective
from lorarec.training.temperature import LearntTemperature

SHARED = (
    "loss",
    "margin",
    "negative_weight",
    "negative_sampling",
    "negative_power",
    "optimizer",
    "warmup_share",
    "decay",
    "clip_norm",
    "precision",
)
"""Settings of `train` that adapters are trained by too."""


def loop_options(
    train: Train,
    section: Train | Adapt,
    learning_rate: float,
    seed: int,
    temperature: LearntTemperature | None = None,
    rates: Mapping[str, float] = MappingProxyType({}),
    pulls: Mapping[str, Tensor] = MappingProxyType({}),
) -> Options:
    """Options of one training.

    Args:
        train: What base and adapters share.
        section: Epochs, batches and so on: `train` for a base, `adapt` for an adapter.
        learning_rate: Of this training.
        seed: Of this training.
        temperature: Where τ is trained too.
        rates: Beginning of a parameter's name → multiple of the learning rate.
        pulls: Name of a table → decay of each of its rows besides `weight_decay`.
    """
    name = "train" if isinstance(section, Train) else "adapt"
    return Options(
        epochs=section.epochs,
        batch_size=section.batch_size,
        negatives=section.negatives,
        learning_rate=learning_rate,
        weight_decay=section.weight_decay,
        patience=section.patience,
        seed=seed,
        rates=rates,
        pulls=pulls,
        averaging=section.averaging,
        objective=Objective(
            section.negatives,
            train.loss,
            train.negative_sampling,
            train.margin,
            train.negative_weight,
            temperature,
        ),
        optimizer=train.optimizer,
        warmup_share=train.warmup_share,
        decay=train.decay,
        clip_norm=train.clip_norm,
        precision=train.precision,
        lower=f"--set {name}.learning_rate={section.learning_rate / 10:g}",
    )


def drawn_power(train: Train) -> float:
    """α of a domain's sampler: 0 draws all items alike."""
    return 0.0 if train.negative_sampling == "uniform" else train.negative_power


def check_loss(train: Train, model: BaseModel) -> None:
    """Refuse a loss that the model's scores do not fit.

    Raises:
        ConfigError: CCL or a learnt temperature without a cosine, or both together.
    """
    similarity = model.similarity
    if train.loss == "ccl" and similarity != "cosine":
        raise ConfigError(
            f"Setting train.loss is 'ccl' and the model compares by {similarity}. Expected a "
            f"cosine, which its margin is told in; set model.similarity=cosine, or train.loss to "
            f"softmax or bpr."
        )
    if not train.learn_temperature:
        return
    if similarity != "cosine":
        raise ConfigError(
            f"Setting train.learn_temperature is true and the model compares by {similarity}, "
            f"which has no temperature. Set model.similarity=cosine, or leave it out."
        )
    if train.loss == "ccl":
        raise ConfigError(
            "Setting train.learn_temperature is true and train.loss is 'ccl', which compares "
            "cosines as they are. Set train.loss to softmax or bpr, or leave one of them out."
        )
