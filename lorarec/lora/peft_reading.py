"""A folder that PEFT, or an export of lorarec, has written: read, and not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lorarec.errors import ArtifactError
from lorarec.lora.adapter import ids_unpacked
from lorarec.lora.peft_config import PeftConfig, read_peft_config
from lorarec.lora.peft_format import (
    BEFORE,
    CONFIG,
    EXTRA,
    NOTE,
    PARTS,
    WEIGHTS,
    PeftModule,
    PeftNote,
)
from lorarec.lora.state import TABLES
from lorarec.record import load_record
from lorarec.storage import read_tensors, sha256_file


@dataclass(frozen=True, eq=False)
class PeftFolder:
    """A folder that was read and not yet put on a base."""

    path: Path
    config: PeftConfig
    modules: list[PeftModule]
    note: PeftNote | None
    """None of a folder that no lorarec has written."""
    extra: Mapping[str, Tensor]
    """Bias and grown rows, where they were written beside."""
    grown: Mapping[str, list[str]]
    """Ids of grown `users` and `items`."""
    digest: str
    """SHA-256 of the weights' file."""


def read_peft(path: Path) -> PeftFolder:
    """Read a folder with PEFT's two files, and those that lorarec wrote beside them.

    Raises:
        ArtifactError: A file is missing, broken, changed since it was exported, a pickle, or holds
            what is more than LoRA on embeddings and linear layers.
    """
    if not (path / WEIGHTS).is_file() and (path / "adapter_model.bin").is_file():
        raise ArtifactError(
            f"{path} has its weights as a pickle, adapter_model.bin, which is never opened: it may "
            f"run any code. Expected {WEIGHTS}; save it with safe_serialization=True."
        )
    note = load_record(path / NOTE, PeftNote) if (path / NOTE).is_file() else None
    config = read_peft_config(path / CONFIG)
    modules = _modules(path / WEIGHTS)
    digest = sha256_file(path / WEIGHTS)
    extra: dict[str, Tensor] = {}
    grown: dict[str, list[str]] = {name: [] for name in TABLES}
    if note is not None:
        _check_unchanged(path, note)
        if note.extra_digest is not None:
            arrays = read_tensors(path / EXTRA, note.extra_digest)
            grown = {n: ids_unpacked(path / EXTRA, f"{n}.grown_ids", arrays) for n in TABLES}
            extra = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return PeftFolder(path, config, modules, note, extra, grown, digest)


def _modules(path: Path) -> list[PeftModule]:
    """The factors of a file by module."""
    tensors = _tensors(path)
    kinds = {part: embedding for embedding, parts in PARTS.items() for part in parts}
    found: dict[tuple[str, bool], dict[str, Tensor]] = {}
    strange = []
    for key, tensor in tensors.items():
        part = next((part for part in kinds if key.endswith(f".{part}")), None)
        if part is None or not key.startswith(BEFORE) or tensor.ndim != 2:
            strange.append(f"{key} {tuple(tensor.shape)}")
            continue
        name = key.removeprefix(BEFORE).removesuffix(f".{part}")
        found.setdefault((name, kinds[part]), {})[part] = tensor
    if strange or not found:
        raise ArtifactError(
            f"{path} holds {', '.join(strange[:5]) or 'no tensor'}. Expected the factors of LoRA "
            f"alone, such as {BEFORE}items.{PARTS[True][0]} or {BEFORE}transform.{PARTS[False][0]}."
        )
    modules = []
    for (name, embedding), parts in sorted(found.items()):
        a, b = (parts.get(part) for part in PARTS[embedding])
        if a is None or b is None or len(a) != b.shape[1] or not len(a):
            shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
            raise ArtifactError(
                f"{path} has {shapes} of {name}. Expected {' (r, n) and '.join(PARTS[embedding])} "
                f"(m, r) of one r. It was truncated or edited; save it again."
            )
        for tensor in (a, b):
            if not bool(torch.isfinite(tensor).all()):
                raise ArtifactError(
                    f"{path} has numbers of {name} that are not finite. Expected finite ones: the "
                    f"training diverged; train it again with a smaller step."
                )
        modules.append(PeftModule(name, embedding, a, b))
    return modules


def _tensors(path: Path) -> dict[str, Tensor]:
    """Float tensors as float32; NumPy lacks bfloat16, which PEFT may have saved."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Expected the weights of a PEFT adapter.")
    try:
        return {name: tensor.float() for name, tensor in load_file(str(path)).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a whole safetensors file ({error}). Save the adapter again."
        ) from error


def _check_unchanged(path: Path, note: PeftNote) -> None:
    for name, digest in ((CONFIG, note.config_digest), (WEIGHTS, note.weights_digest)):
        if sha256_file(path / name) != digest:
            raise ArtifactError(
                f"{path / name} has changed since lorarec exported it, as {NOTE} tells. Expected "
                f"the file as it was. Where PEFT has trained it further, remove {NOTE} and name "
                f"the base: lorarec adapters import {path} --domain {note.domain} --base URI"
            )
