"""Tensors by name: safetensors, and a torch state dict read without running any of its code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorarec.errors import ArtifactError
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.models.importing.names import chosen_names, left_out


def read_safetensors(path: Path, names: Mapping[str, str], files: Mapping[str, str]) -> Factors:
    """Tensors of a safetensors file; only those that are wanted are read.

    Args:
        path: The file.
        names: Part → name of the tensor, where it is not a known one.
        files: Name → SHA-256, for the record.

    Raises:
        ArtifactError: The file is missing or broken.
        DataError: It does not hold what `factors_of` asks for.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as found:
            shapes = {name: tuple(found.get_slice(name).get_shape()) for name in found.keys()}  # noqa: SIM118
            chosen = chosen_names(shapes, names, path.name)
            parts = {part: _array(found.get_tensor(name)) for part, name in chosen.items()}
            unused = left_out(shapes, chosen)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{path} is not a whole safetensors file ({error}). Expected one that was written by "
            f"safetensors; get it again."
        ) from error
    return factors_of(parts, "safetensors", path.name, files, unused)


def read_state_dict(path: Path, names: Mapping[str, str], files: Mapping[str, str]) -> Factors:
    """Tensors of a `.pt` file; names of nested dictionaries are joined by dots.

    torch reads it with `weights_only=True`: tensors and plain containers, and nothing that runs.

    Args:
        path: The file.
        names: Part → name of the tensor, where it is not a known one.
        files: Name → SHA-256, for the record.

    Raises:
        ArtifactError: The file is missing or broken, or holds Python objects.
        DataError: It does not hold what `factors_of` asks for.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle's version
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{path} cannot be read: it is damaged, or holds more than tensors. Expected a whole "
            f"file of tensors alone; Python objects are not read, as they could run code. Save the "
            f"state dict with safetensors.torch.save_file."
        ) from error
    tensors = dict(_tensors(found, ""))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    chosen = chosen_names(shapes, names, path.name)
    parts = {part: _array(tensors[name]) for part, name in chosen.items()}
    unused = left_out(shapes, chosen)
    return factors_of(parts, "torch state dict", path.name, files, unused)


def _tensors(found: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Tensor):
        yield prefix or "tensor", found
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _tensors(value, f"{prefix}.{name}" if prefix else str(name))


def _array(tensor: Tensor) -> Any:
    """As NumPy has it; bfloat16, which it lacks, as float32."""
    dense = tensor.detach()
    return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
