"""What PEFT's folder of a LoRA adapter holds, and what lorarec writes beside it.

    embedding: e_i ← e_i + s · (B A)_i    A = lora_embedding_A (r, V), B = lora_embedding_B (d, r)
    linear:    y ← W x + c + s · B (A x)  A = lora_A.weight (r, in),   B = lora_B.weight (out, r)
    with       s = alpha / √r where `use_rslora` is set, else alpha / r

A is dense over all V rows of a table. PEFT knows rows and no ids, and puts an adapter on any base
of the same shapes: so that an import can tell, `lorarec.json` names the base and its vocabularies.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import Tensor

from lorarec.data.splits import SplitRecord
from lorarec.record import FORMAT, Record

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""PEFT's own two files."""
NOTE, EXTRA = "lorarec.json", "lorarec_extra.safetensors"
"""What lorarec writes beside them, and PEFT does not read."""
BEFORE = "base_model.model."
"""What PEFT's names of tensors begin with."""
PARTS = {True: ("lora_embedding_A", "lora_embedding_B"), False: ("lora_A.weight", "lora_B.weight")}
"""Names of A and B, of an embedding and of a linear layer."""


@dataclass(frozen=True, eq=False)
class PeftModule:
    """What PEFT keeps of one module."""

    name: str
    """Of the module, such as `items` or `item_tower.layers.0`."""
    embedding: bool
    """Else it is a linear layer."""
    a: Tensor
    """(r, V) or (r, in)."""
    b: Tensor
    """(d, r) or (out, r)."""

    @property
    def rank(self) -> int:
        """r."""
        return len(self.a)

    def tensors(self) -> dict[str, Tensor]:
        """Both factors under PEFT's names."""
        names = (f"{BEFORE}{self.name}.{part}" for part in PARTS[self.embedding])
        return dict(zip(names, (self.a, self.b), strict=True))


class PeftNote(Record):
    """What PEFT's format has no place for: the base that an exported adapter belongs to."""

    format_version: int = FORMAT
    domain: str
    adapter_digest: str
    """Of the adapter that was exported."""
    base_digest: str
    """The only base that it is imported onto."""
    users: int = Field(ge=0)
    """Rows of the base's user table, in the order of its vocabulary."""
    items: int = Field(ge=0)
    """Rows of its item table."""
    user_vocabulary: str
    """Digest of the ids of those user rows."""
    item_vocabulary: str
    """Digest of the ids of those item rows."""
    data_digest: str
    """Of the logs it was trained on."""
    split: SplitRecord
    """The base's."""
    config_digest: str
    """SHA-256 of adapter_config.json."""
    weights_digest: str
    """SHA-256 of adapter_model.safetensors."""
    extra_digest: str | None
    """SHA-256 of lorarec_extra.safetensors; None where there is none."""
    folded: bool
    """Whether a transform, which the base has no layer for, is written into the items' rows."""
    left_out: dict[str, int]
    """What is in no file, in rows: of `bias`, `grown users` and `grown items`."""
