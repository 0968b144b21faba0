"""Which files a path stands for: a file, a pattern, a folder, or a tree of hive partitions."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lorarec.errors import DataError

_PLAIN = (".csv", ".tsv", ".ndjson", ".jsonl")
SUFFIXES = (".parquet", *_PLAIN, *(f"{s}.gz" for s in _PLAIN), *(f"{s}.zst" for s in _PLAIN))
"""What a log file may end in; text may be compressed."""
Paths = Sequence[Path | str] | Path | str
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class LogFile:
    """One file of logs and what its folders say of every row in it."""

    path: Path
    partition: tuple[tuple[str, str | None], ...] = ()
    """Column and value of each `column=value` folder, outermost first; None is a null."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def suffix(self) -> str:
        """One of `SUFFIXES`."""
        return suffix_of(self.path)


def suffix_of(path: Path) -> str:
    """The suffix of a log file, one of `SUFFIXES`; empty for hidden and for any other file."""
    name = path.name.lower()
    if name.startswith((".", "_")):
        return ""
    return next((s for s in SUFFIXES if name.endswith(s)), "")


def find_files(paths: Paths) -> list[LogFile]:
    """The log files that paths stand for, in order.

    A folder stands for its file `interactions.*` when it has one (the other tables of a data set
    lie beside it), otherwise for all its log files by name, otherwise for all log files below its
    hive partitions such as `domain=books/date=2026-01-01/`. A pattern with `*`, `?` or `[...]`,
    `**` for any depth, stands for what it matches by name, where no file has that very name.

    Args:
        paths: Files, folders and patterns.

    Raises:
        DataError: A path does not exist or matches nothing, has an unknown suffix, or is a folder
            without logs.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("No log files were given. Expected at least one path, such as --data data.")
    return [file for path in given for file in _files_of(Path(path))]


def _files_of(path: Path) -> list[LogFile]:
    if path.is_dir():
        return _files_in(path)
    if not path.exists():
        if glob.has_magic(str(path)):
            return _matches(path)
        near = ", ".join(sorted(f.name for f in path.parent.glob("*"))[:5])
        raise DataError(
            f"{path} does not exist. Expected a log file or a directory of them"
            f"{f'; {path.parent} holds {near}' if near else ''}. "
            f"`lorarec data synth {path}` makes a sample."
        )
    if not suffix_of(path):
        raise DataError(
            f"{path} has a suffix that is not known. Expected one of {', '.join(SUFFIXES)}."
        )
    _check_plain([path])
    return [LogFile(path, _partition(path.parent.parts))]


def _check_plain(paths: Sequence[Path]) -> None:
    """Refuse what has the name of a log file and is none, rather than pass rows over in silence."""
    for path in paths:
        if not path.is_file():
            what = "a link to nothing" if path.is_symlink() else "no regular file"
            raise DataError(
                f"{path} is {what}. Expected a log file; remove it, or put back what belongs there."
            )


def _matches(pattern: Path) -> list[LogFile]:
    relative = pattern.relative_to(pattern.anchor)
    found = sorted(Path(pattern.anchor).glob(str(relative)))
    plain = [p for p in found if suffix_of(p) and not p.is_dir()]
    _check_plain(plain)
    files = [LogFile(p, _partition(p.parent.parts)) for p in plain]
    if not files:
        some = ", ".join(p.name for p in found[:5]) or "nothing"
        raise DataError(
            f"The pattern {pattern} matches no log file (it matches {some}). Expected files ending "
            f"in {', '.join(SUFFIXES)}. Quote it, so that the shell leaves it alone."
        )
    return files


def _files_in(folder: Path) -> list[LogFile]:
    files = sorted(f for f in folder.iterdir() if suffix_of(f) and not f.is_dir())
    if named := [f for f in files if f.name.startswith("interactions.")]:
        files = named
        _check_one_each(folder, named)
    if not files:
        below = [f for f in folder.iterdir() if f.is_dir() and "=" in f.name]
        files = sorted(f for d in below for f in d.rglob("*") if suffix_of(f) and not f.is_dir())
    if not files:
        inside = ", ".join(sorted(f.name for f in folder.iterdir())[:5]) or "nothing"
        raise DataError(
            f"{folder} is a directory without log files (it holds {inside}). "
            f"Expected files ending in {', '.join(SUFFIXES)}, or folders named column=value."
        )
    _check_plain(files)
    return [LogFile(f, _partition(f.parent.parts)) for f in files]


def _check_one_each(folder: Path, files: Sequence[Path]) -> None:
    """Refuse the same table in two formats: its rows would count twice."""
    stems = [f.name.lower().removesuffix(suffix_of(f)) for f in files]
    twice = [f.name for f, stem in zip(files, stems, strict=True) if stems.count(stem) > 1]
    if twice:
        raise DataError(
            f"{folder} holds {' and '.join(twice)}, the same table more than once, so that rows "
            f"would count twice. Expected one of them; name it, such as {folder / twice[0]}."
        )


def _partition(folders: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    """What folders named `column=value` say, with %-escapes undone as Hive and Spark write them."""
    pairs = [name.partition("=") for name in folders if "=" in name.strip("=")]
    return tuple((unquote(c), None if v == _HIVE_NULL else unquote(v)) for c, _, v in pairs)
