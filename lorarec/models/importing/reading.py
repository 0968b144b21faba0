"""A model to import, read by what its file is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lorarec.errors import DataError, NotFoundError
from lorarec.models.importing.arrays import read_npy, read_npz
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.models.importing.states import read_safetensors, read_state_dict
from lorarec.models.importing.vectors import read_vectors
from lorarec.storage import sha256_file

Reader = Callable[[Path, Mapping[str, str], Mapping[str, str]], Factors]
ONE: dict[str, Reader] = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".pt": read_state_dict,
    ".pth": read_state_dict,
    ".bin": read_state_dict,
}
"""Suffixes of files that hold both sides."""
TWO = (".npy", ".parquet", ".ndjson", ".jsonl")
"""Suffixes of files that hold one side, so that users' and items' come as a pair."""
EXPECTED = (
    f"Expected one file ({', '.join(ONE)}), or two, users first ({', '.join(TWO)}), or a folder "
    f"that holds either."
)


def read_factors(sources: Sequence[Path], names: Mapping[str, str]) -> Factors:
    """The vectors of a model.

    Args:
        sources: A file of both sides; or two, users first; or a folder with one of these.
        names: Part of `factors.SLOTS` → name of an array, where the file's is not known.

    Raises:
        NotFoundError: A path is not there.
        ArtifactError: A file is broken, or holds Python objects.
        DataError: It is not known what to read, or the file does not hold a model.
    """
    paths = inside(sources[0]) if len(sources) == 1 and sources[0].is_dir() else list(sources)
    for path in paths:
        if not path.is_file():
            raise NotFoundError(f"There is no file {path}. {EXPECTED}")
    suffixes = {path.suffix.lower() for path in paths}
    files = {path.name: sha256_file(path) for path in paths}
    if len(paths) == 1 and suffixes <= set(ONE):
        return ONE[suffixes.pop()](paths[0], names, files)
    if len(paths) == 2 and suffixes <= set(TWO):
        if names:
            raise DataError(
                "--name is for a file of several arrays. Expected none with a file for each side."
            )
        return _pair(paths[0], paths[1], files)
    alone = len(paths) == 1 and suffixes <= set(TWO)
    raise DataError(
        f"{', '.join(str(path) for path in paths)}: "
        f"{'one side of a model' if alone else 'not a kind of file that is known'}. {EXPECTED}"
    )


def inside(folder: Path) -> list[Path]:
    """The one model of a folder, such as an MLflow model's: a file of both sides, or a pair.

    Raises:
        DataError: There is none, or more than one; what there is is told.
    """
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = [path for path in there if path.suffix.lower() in ONE]
    pairs = [
        [path, path.with_name(f"items{path.suffix}")]
        for path in there
        if path.stem == "users" and path.suffix in TWO
    ]
    found = [[path] for path in whole] + [pair for pair in pairs if pair[1].is_file()]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.relative_to(folder).as_posix() for path in there[:10]) or "nothing"
    raise DataError(
        f"{folder} holds {len(found) or 'no'} models that could be imported. It has: {listed}. "
        f"{EXPECTED} Name the file itself."
    )


def _pair(users: Path, items: Path, files: Mapping[str, str]) -> Factors:
    where = f"{users.name} and {items.name}"
    if users.suffix.lower() == items.suffix.lower() == ".npy":
        parts = {"users": read_npy(users), "items": read_npy(items)}
        return factors_of(parts, "npy", where, files)
    if ".npy" in (users.suffix.lower(), items.suffix.lower()):
        raise DataError(f"{where} are of two kinds. Expected both with ids, or both without.")
    return factors_of(
        {**read_vectors(users, "user"), **read_vectors(items, "item")}, "vectors", where, files
    )
