"""Matrices in NumPy's files: `.npz` with names, as implicit saves its models, and `.npy`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lorarec.errors import ArtifactError
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.models.importing.implicit_model import is_implicit, lifted
from lorarec.models.importing.names import chosen_names, left_out

Array = np.ndarray[Any, Any]
_BROKEN = (ValueError, EOFError, OSError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises on a file that is cut, edited, or asks for pickle."""


def read_npz(path: Path, names: Mapping[str, str], files: Mapping[str, str]) -> Factors:
    """Matrices of an `.npz`; a model of implicit is known by its keys.

    Args:
        path: The file.
        names: Part → name of the array, where it is not a known one.
        files: Name → SHA-256, for the record.

    Raises:
        ArtifactError: The file is missing or broken, or holds Python objects.
        DataError: It does not hold what `factors_of` asks for.
    """
    with opened(path) as found:
        shapes = _shapes(found, path)
        if not names and is_implicit(shapes):
            wanted = {name: name for name in ("user_factors", "item_factors", "factors", *shapes)}
            return lifted({name: _array(found, name, path) for name in wanted}, path.name, files)
        chosen = chosen_names(shapes, names, path.name)
        parts = {part: _array(found, name, path) for part, name in chosen.items()}
    return factors_of(parts, "npz", path.name, files, left_out(shapes, chosen))


def read_npy(path: Path) -> Array:
    """One array.

    Raises:
        ArtifactError: The file is missing or broken, or holds Python objects.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except _BROKEN as error:
        raise _broken(path, error) from error
    if not isinstance(found, np.ndarray):
        raise ArtifactError(f"{path} is no .npy file. Expected one array; give it as an .npz.")
    return found


def opened(path: Path) -> Any:
    """An open `.npz`; its arrays are read when they are asked for.

    Raises:
        ArtifactError: It is missing, or no `.npz`.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except _BROKEN as error:
        raise _broken(path, error) from error
    if isinstance(found, np.ndarray):
        raise ArtifactError(f"{path} is no .npz file: it holds one array without a name.")
    return found


def _shapes(found: Any, path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each array, from its header alone."""
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        for name in found.files:
            with found.zip.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shapes[name] = read(member)[0]
    except _BROKEN as error:
        raise _broken(path, error) from error
    return shapes


def _array(found: Any, name: str, path: Path) -> Array:
    try:
        array: Array = found[name]
    except _BROKEN as error:
        raise _broken(path, error, f" in {name!r}") from error
    return array


def _broken(path: Path, error: BaseException, where: str = "") -> ArtifactError:
    if isinstance(error, FileNotFoundError):
        return ArtifactError(f"{path} is not there. Expected the file of a model to import.")
    return ArtifactError(
        f"{path} cannot be read{where}: {error or type(error).__name__}. Expected a whole file of "
        f"numbers or text; files that hold Python objects are not read, as they could run code. "
        f"Write it again with numpy.savez(PATH, users=..., items=...)."
    )
