"""Files that are whole or absent: write beside, fsync, rename. Digests, JSON and safetensors.

Nothing read here is trusted: a truncated or edited file raises `ArtifactError` with its name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lorarec.errors import ArtifactError, StoreError

_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
}

UNFINISHED = ".*.tmp"
"""What a killed process leaves of what it was writing, as a pattern of names."""


def refused(path: Path, error: OSError) -> StoreError:
    """What the operating system refused, as an error that a person can act on."""
    reason = _REFUSALS.get(error.errno or 0, error.strerror or str(error))
    return StoreError(
        f"Could not write {path}: {reason}. Expected a folder that can be written to with room "
        f"to spare. Nothing was left half-written; free some space or choose another place, then "
        f"run the command again."
    )


def beside(path: Path) -> Path:
    """A name of its own for what will take the place of a path; told by `UNFINISHED`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def remove_beside(path: Path | str) -> None:
    """Delete what a killed `atomic_path` of this path left. Nobody else may be writing it."""
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`; renamed to it when the block ends well, else removed.

    Args:
        path: The file to be written. Its folder is made if absent.

    Yields:
        The path to write to.

    Raises:
        StoreError: The disk is full, read-only, or not ours to write to.
    """
    path = Path(path)
    temporary = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path | str) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed to it when the block ends well, else removed.

    Raises:
        StoreError: `path` exists already and is not empty, or the disk refused.
    """
    path = Path(path)
    temporary = beside(path)
    try:
        if path.exists() and any(path.iterdir()):
            raise StoreError(
                f"{path} exists and is not empty. Expected a new or empty folder; "
                f"choose another name or remove it first."
            )
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        if path.exists():
            path.rmdir()
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_bytes(*parts: bytes) -> str:
    """Hex SHA-256 of length-prefixed `parts` (so that no two lists of parts collide)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as sorted, indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; a missing or broken file is an `ArtifactError` that names it."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing. Expected a JSON file of this artefact.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(
            f"{path} is not JSON ({error}). It was truncated or edited; get the artefact again."
        ) from error


def write_tensors(
    path: Path | str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> str:
    """Write arrays as safetensors, whole or not at all.

    Returns:
        Hex SHA-256 of the file written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        try:
            save_file(contiguous, str(temporary), metadata=dict(metadata or {}))
        except SafetensorError as error:  # how it tells of a full disk
            raise StoreError(
                f"Could not write {path}: {error}. Expected a folder with room to spare. Nothing "
                f"was left half-written; free some space, then run the command again."
            ) from error
        digest = sha256_file(temporary)
    return digest


def read_tensors(path: Path | str, digest: str | None = None) -> dict[str, np.ndarray]:
    """Read a safetensors file into arrays.

    Args:
        path: The file.
        digest: Hex SHA-256 that the file must have; None skips the check.

    Raises:
        ArtifactError: The file is missing, truncated, not safetensors, or has another digest.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Expected the weights of this artefact.")
    if digest is not None and (found := sha256_file(path)) != digest:
        raise ArtifactError(
            f"{path} has digest {found[:12]}, its metadata says {digest[:12]}. "
            f"It was truncated or edited; get the artefact again."
        )
    try:
        tensors: dict[str, np.ndarray] = load_file(str(path))
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a whole safetensors file ({error}). Get the artefact again."
        ) from error
