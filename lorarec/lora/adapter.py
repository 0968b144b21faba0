"""The adapter on disk: `adapter.safetensors` and `adapter.json`, bound to one base by digest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, ArtifactError
from lorarec.lora.attach import adapter_state, deltas, restore
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import read_tensors, sha256_bytes, write_tensors

Array = np.ndarray[Any, Any]


class AdapterInfo(Record):
    """All that is known of an adapter besides its numbers; nothing depends on code defaults."""

    format_version: int = FORMAT
    domain: str
    config: AdapterConfig
    dim: int = Field(ge=1)
    digest: str
    """SHA-256 of the factors, their scales and the ids of grown rows."""
    weights_digest: str
    """SHA-256 of adapter.safetensors."""
    base_digest: str
    """The base it was trained on, and the only one it loads onto."""
    base_users: int
    """Rows of the base's user vocabulary then."""
    base_items: int
    """Rows of the base's item vocabulary then."""
    user_vocabulary: str
    """Digest of those user rows; a longer vocabulary must begin with them."""
    item_vocabulary: str
    """Digest of those item rows."""
    data_digest: str
    """Of the logs it was trained on."""
    split: SplitRecord
    """The base's split, cut-off times included."""
    learning_rate: float
    """The step size that validation chose; 0 where no step of training was kept."""
    metrics: dict[str, float]
    """Validation metrics of the kept epoch."""
    parameters: dict[str, int]
    """Numbers trained: `factors`, `grown`, and `full` for full fine-tuning of the same rows."""
    versions: dict[str, str]
    """Of the libraries that made it."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A base with an adapter on it, and the vocabularies with the grown rows behind the base's."""

    model: BaseModel
    users: Vocabulary
    items: Vocabulary
    info: AdapterInfo


def adapter_digest(model: BaseModel, grown: tuple[list[str], list[str]]) -> str:
    """SHA-256 of every tensor of the adapter, their scales and the ids of its grown rows."""
    parts = [part.encode() for ids in grown for part in [str(len(ids)), *ids]]
    for name, module in deltas(model).items():
        parts += [f"{name} {getattr(module, 'scale', None)!r}".encode()]
    for name, tensor in sorted(adapter_state(model).items()):
        parts += [name.encode(), repr(tuple(tensor.shape)).encode(), tensor.cpu().numpy().tobytes()]
    return sha256_bytes(*parts)


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter into an existing folder; the folder's maker renames it into place."""
    info = adapter.info
    tensors = {name: t.cpu().numpy() for name, t in adapter_state(adapter.model).items()}
    for name, vocabulary, known in (
        ("users", adapter.users, info.base_users),
        ("items", adapter.items, info.base_items),
    ):
        tensors |= _packed(f"{name}.grown_ids", grown_ids(vocabulary, known))
    found = write_tensors(folder / "adapter.safetensors", tensors)
    save_record(folder / "adapter.json", info.model_copy(update={"weights_digest": found}))


def load_adapter(folder: Path, base: Base) -> Adapter:
    """Read an adapter and put it on the base it was trained on.

    Raises:
        AdapterMismatchError: It was trained on another base, both digests are named, or on another
            split than its base.
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / "adapter.json", AdapterInfo)
    _check_base(info, base)
    tensors = read_tensors(folder / "adapter.safetensors", info.weights_digest)
    grown = {name: _unpacked(folder, f"{name}.grown_ids", tensors) for name in ("users", "items")}
    if len(base.users) != info.base_users or len(base.items) != info.base_items:
        raise AdapterMismatchError(
            f"The base has {len(base.users):,} users and {len(base.items):,} items, the adapter "
            f"was trained beside {info.base_users:,} and {info.base_items:,}. Adapt again."
        )
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    model = restore(base.model, info.config, state).requires_grad_(False)
    if (digest := adapter_digest(model, (grown["users"], grown["items"]))) != info.digest:
        raise ArtifactError(
            f"The adapter in {folder} has digest {digest[:12]}, adapter.json says "
            f"{info.digest[:12]}. One of them was edited; get the adapter again."
        )
    return Adapter(
        model, base.users.extend(grown["users"]), base.items.extend(grown["items"]), info
    )


def grown_ids(vocabulary: Vocabulary, known: int) -> list[str]:
    """The ids behind the first `known` rows, in their order."""
    return [str(name) for name in vocabulary.ids[known:]]


def _check_base(info: AdapterInfo, base: Base) -> None:
    if info.base_digest != base.digest:
        raise AdapterMismatchError(
            f"The adapter of domain {info.domain!r} was trained on the base with digest "
            f"{info.base_digest}, and this base has digest {base.digest}. Expected the same base: "
            f"name it with --base, or adapt again: lorarec adapt --domain {info.domain}"
        )
    if info.split != base.info.split:
        ours, theirs = _cut(info.split), _cut(base.info.split)
        raise AdapterMismatchError(
            f"The adapter of domain {info.domain!r} was trained on another split than its base: "
            f"{ours}, and the base's is {theirs}. Expected one cut-off for both, or what the base "
            f"learnt from is tested on. Adapt again: lorarec adapt --domain {info.domain}"
        )
    for what, vocabulary, count, digest in (
        ("users", base.users, info.base_users, info.user_vocabulary),
        ("items", base.items, info.base_items, info.item_vocabulary),
    ):
        if len(vocabulary) < count or vocabulary.digest(count) != digest:
            raise AdapterMismatchError(
                f"The base's {what} ({len(vocabulary):,} rows) do not begin with the {count:,} "
                f"rows, digest {digest[:12]}, that the adapter was trained beside. Adapt again."
            )


def _cut(split: SplitRecord) -> str:
    return f"{split.used} (seed {split.seed}, valid from {split.t_valid}, test from {split.t_test})"


def _packed(name: str, ids: list[str]) -> dict[str, Array]:
    """Ids as bytes and offsets, so that they lie in the same checked file as their vectors."""
    encoded = [text.encode() for text in ids]
    offsets = np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)
    return {f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8), f"{name}.ends": offsets}


def _unpacked(folder: Path, name: str, tensors: dict[str, Array]) -> list[str]:
    try:
        data, ends = tensors.pop(f"{name}.bytes").tobytes(), tensors.pop(f"{name}.ends")
        return [data[a:b].decode() for a, b in pairwise(ends)]
    except (KeyError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{folder / 'adapter.safetensors'} lacks the ids of grown rows ({error}). "
            f"It was edited; get the adapter again."
        ) from error
