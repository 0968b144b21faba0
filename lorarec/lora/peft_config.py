"""PEFT's `adapter_config.json`, as far as it decides what an adapter does."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorarec.errors import ArtifactError
from lorarec.record import first_fault
from lorarec.storage import read_json

_ONLY_AT_THE_START = ("gaussian", "eva", "orthogonal", "mica")
"""Ways to begin that leave the base as it is; the others change its weights, or might."""
_MORE_THAN_LORA = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "modules_to_save",
    "monteclora_config",
    "trainable_token_indices",
    "velora_config",
)
_LITERAL = re.compile(r"[\w.-]+")


class PeftConfig(BaseModel):
    """What is read of it; other keys say how it was trained."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str
    r: int = Field(ge=1)
    lora_alpha: float = Field(allow_inf_nan=False)
    use_rslora: bool = False
    alpha_pattern: dict[str, float] | None = None
    bias: str = "none"
    init_lora_weights: bool | str | None = True

    def alpha(self, module: str) -> float:
        """Of a module: its own where `alpha_pattern` names it, in PEFT's order."""
        for pattern, alpha in (self.alpha_pattern or {}).items():
            name = _literal(pattern)
            behind = not pattern.startswith("^") and module.endswith(f".{name}")
            if module == name or behind:
                return alpha
        return self.lora_alpha

    def scale(self, module: str, rank: int) -> float:
        """s of a module: alpha / √r where `use_rslora` is set, else alpha / r."""
        return self.alpha(module) / (math.sqrt(rank) if self.use_rslora else rank)


def read_peft_config(path: Path) -> PeftConfig:
    """Read it, and refuse what is more than LoRA, or LoRA on a base that PEFT changed.

    Raises:
        ArtifactError: It is missing or broken, or asks for what lorarec cannot do.
    """
    values = read_json(path)
    try:
        config = PeftConfig.model_validate(values)
    except ValidationError as error:
        raise ArtifactError(
            f"{path} is not what PEFT writes: {first_fault(error)}. Expected the config of a "
            f"LoRA adapter; save it again with save_pretrained."
        ) from error
    if (reason := _refusal(config, values)) is not None:
        raise ArtifactError(
            f"{path} is of an adapter with {reason}, which lorarec cannot say in its own layers. "
            f"Expected plain LoRA on embeddings and linear layers: train it without that, or merge "
            f"it in PEFT and bring the result as a base: lorarec import"
        )
    return config


def _refusal(config: PeftConfig, values: dict[str, Any]) -> str | None:
    if config.peft_type != "LORA":
        return f"peft_type {config.peft_type!r}"
    if config.bias != "none":
        return f"bias {config.bias!r}: the base's own constants were trained"
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower() not in _ONLY_AT_THE_START:
        return f"init_lora_weights {start!r}: it may belong to a base whose weights that changed"
    for name in _MORE_THAN_LORA:
        if values.get(name):
            return f"{name} {values[name]!r}"
    for pattern in config.alpha_pattern or {}:
        if not _LITERAL.fullmatch(_literal(pattern)):
            return f"the regular expression {pattern!r} in alpha_pattern"
    return None


def _literal(pattern: str) -> str:
    """The name that a pattern of PEFT's stands for, where it is one."""
    return pattern.removeprefix("^").removesuffix("$").replace("\\.", ".").replace("\\-", "-")
