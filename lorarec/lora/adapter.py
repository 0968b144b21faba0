"""The adapter on disk: `adapter.safetensors` and `adapter.json`, bound to one base by digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lorarec.data.later_split import goes_on
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, ArtifactError
from lorarec.lora.attach import adapter_state, deltas, restore
from lorarec.lora.config import AdapterConfig
from lorarec.lora.derivation import Derivation
from lorarec.lora.layers import Appended, RowTable
from lorarec.lora.quantization import Storage, packed, unpacked
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel, plain_tables
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
    """The base's split, cut-off times included; of one that has gone on, a later one by time."""
    learning_rate: float
    """The step size that validation chose; 0 where no step of training was kept."""
    metrics: dict[str, float]
    """Validation metrics of the kept epoch; `evaluated_…` of what was computed from others."""
    parameters: dict[str, int]
    """Numbers trained: `factors`, `grown`, and `full` for full fine-tuning of the same rows."""
    versions: dict[str, str]
    """Of the libraries that made it."""
    storage: Storage = "fp32"
    """How the numbers lie in adapter.safetensors; the digest is of what they are read as."""
    made_of: Derivation | None = None
    """The adapters that it was computed from, or went on from; None of one that began anew."""
    trained_on: list[DataSource] = Field(default_factory=list)
    """Logs that it was trained on besides the base's own, oldest first."""
    later: ClassVar[frozenset[str]] = frozenset({"storage", "made_of", "trained_on"})


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
    tensors = packed(
        {n: t.cpu().numpy() for n, t in adapter_state(adapter.model).items()}, info.storage
    )
    for name, vocabulary, known, table in (
        ("users", adapter.users, info.base_users, adapter.model.users),
        ("items", adapter.items, info.base_items, adapter.model.items),
    ):
        # What was appended to the base since the adapter was trained lies behind its grown rows.
        count = len(table.grown) if isinstance(table, RowTable) else None
        tensors |= ids_packed(f"{name}.grown_ids", grown_ids(vocabulary, known, count))
    found = write_tensors(folder / "adapter.safetensors", tensors)
    save_record(folder / "adapter.json", info.model_copy(update={"weights_digest": found}))


def load_adapter(folder: Path, base: Base) -> Adapter:
    """Read an adapter and put it on the base it was trained on.

    The base may have gained rows since, as its vocabularies prove: whatever the adapter knew then
    scores as it did, to the bit, and the new rows are the base's.

    Raises:
        AdapterMismatchError: It was trained on another base, both digests are named, or on another
            split than its base.
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / "adapter.json", AdapterInfo)
    check_base(info, base)
    tensors = read_tensors(folder / "adapter.safetensors", info.weights_digest)
    file = folder / "adapter.safetensors"
    grown = {name: ids_unpacked(file, f"{name}.grown_ids", tensors) for name in ("users", "items")}
    found = unpacked(tensors, info.storage)
    state = {name: torch.from_numpy(array) for name, array in found.items()}
    adapter = on_base(base, info, state, grown)
    if (digest := adapter_digest(adapter.model, (grown["users"], grown["items"]))) != info.digest:
        raise ArtifactError(
            f"The adapter in {folder} has digest {digest[:12]}, adapter.json says "
            f"{info.digest[:12]}. One of them was edited; get the adapter again."
        )
    return adapter


def on_base(
    base: Base, info: AdapterInfo, state: Mapping[str, Tensor], grown: Mapping[str, list[str]]
) -> Adapter:
    """An adapter of its tensors, on the base as it is now.

    Args:
        base: The one that `info` names.
        info: Says how many of the base's rows there were.
        state: As `adapter_state` gives them.
        grown: Ids of grown `users` and `items`, in the order of their vectors.

    Raises:
        AdapterMismatchError: The tensors do not fit the shape that `info` tells.
    """
    tables = {
        "users": _Rows.of(base.users, info.base_users, grown["users"]),
        "items": _Rows.of(base.items, info.base_items, grown["items"]),
    }
    appended = {name: rows.appended for name, rows in tables.items() if rows.appended}
    model = restore(base.model, info.config, state, appended).requires_grad_(False)
    return Adapter(model, tables["users"].vocabulary, tables["items"].vocabulary, info)


def grown_ids(vocabulary: Vocabulary, known: int, count: int | None = None) -> list[str]:
    """The ids behind the first `known` rows, in their order: all of them, or `count`."""
    end = None if count is None else known + count
    return [str(name) for name in vocabulary.ids[known:end]]


@dataclass(frozen=True)
class _Rows:
    """The rows of an adapter over a base that may have gained some since."""

    vocabulary: Vocabulary
    """The base's rows of then, the adapter's grown ones, what the base has gained."""
    appended: Appended | None

    @classmethod
    def of(cls, ids: Vocabulary, known: int, grown: list[str]) -> _Rows:
        if len(ids) == known:
            return cls(ids.extend(grown), None)
        later = ids.series[known:]
        # An id that the adapter has grown keeps the vector that was trained with it, and one that
        # was forgotten has none.
        known_here = Vocabulary(grown).rows(later, missing="mark") >= 0
        fresh = np.flatnonzero(~known_here & later.is_not_null().to_numpy())
        then = Vocabulary.of_distinct(ids.series.head(known))
        return cls(
            then.extend(grown).extend(later), Appended(known, torch.from_numpy(fresh + known))
        )


def check_base(info: AdapterInfo, base: Base) -> None:
    """Refuse a base that an adapter does not belong to.

    Raises:
        AdapterMismatchError: It is another, has another split whose cut-off is no later one, or
            does not begin with its rows.
    """
    if info.base_digest != base.digest:
        raise AdapterMismatchError(
            f"The adapter of domain {info.domain!r} was trained on the base with digest "
            f"{info.base_digest}, and this base has digest {base.digest}. Expected the same base: "
            f"name it with --base, or adapt again: lorarec adapt --domain {info.domain}"
        )
    if not goes_on(info.split, base.info.split):
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
    tables = plain_tables(base.model)
    for what, vocabulary in (("users", base.users), ("items", base.items)):
        vectors = len(tables[what])
        if vectors != len(vocabulary):
            raise AdapterMismatchError(
                f"The base has {len(vocabulary):,} {what} and {vectors:,} vectors of {what}. "
                f"Expected a vector for each; get the base again."
            )


def _cut(split: SplitRecord) -> str:
    return f"{split.used} (seed {split.seed}, valid from {split.t_valid}, test from {split.t_test})"


def ids_packed(name: str, ids: list[str]) -> dict[str, Array]:
    """Ids as bytes and offsets, so that they lie in the same checked file as their vectors."""
    encoded = [text.encode() for text in ids]
    offsets = np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)
    return {f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8), f"{name}.ends": offsets}


def ids_unpacked(file: Path, name: str, tensors: dict[str, Array]) -> list[str]:
    """The ids that `ids_packed` packed, taken out of the tensors of a file.

    Raises:
        ArtifactError: They are not there, or no UTF-8.
    """
    try:
        data, ends = tensors.pop(f"{name}.bytes").tobytes(), tensors.pop(f"{name}.ends")
        return [data[a:b].decode() for a, b in pairwise(ends)]
    except (KeyError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{file} lacks the ids of grown rows ({error}). It was edited; get the adapter again."
        ) from error
