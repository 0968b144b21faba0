"""Finding a source's files in a folder, an archive or a single file, without trusting any of them.

A member of an archive is written under a name of our own, so that none can leave the scratch
folder; one that tries is refused all the same: the original has none. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from lorarec.data.public.http import Readable
from lorarec.data.public.layout import Found, Layout
from lorarec.errors import DataError
from lorarec.storage import atomic_path

GIB = 1 << 30
_CHUNK = 1 << 20
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
Keep = Callable[[dict[str, str]], bool]


def find_files(
    inputs: Sequence[tuple[str, Path]], layout: Layout, keep: Keep, scratch: Path, limit: int
) -> dict[str, list[Found]]:
    """The files of a source, unpacked where they were packed.

    Args:
        inputs: Names and paths of files and folders. A folder is searched through; archives in it
            are opened only when none of the files lies in it unpacked.
        layout: What the files are called.
        keep: Takes what a file's name says, such as its market; whether it is wanted.
        scratch: An empty folder for what is unpacked.
        limit: Bytes that may be unpacked in all.

    Returns:
        Role → files, by name.

    Raises:
        DataError: An archive is damaged or not safe, holds more than `limit`, or two files are
            the same one.
        StoreError: The disk refused.
    """
    search = _Search(layout, keep, scratch, limit)
    for name, path in inputs:
        search.take(name, path)
    return search.found()


def names_in(path: Path) -> list[str]:
    """Names of the files in a folder or archive, or of the file itself; for errors."""
    if path.is_dir():
        return [name for name, _ in _files_of(path)]
    if not _is_archive(path.name):
        return [path.name]
    with _opening(path):
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as packed:
                return packed.namelist()
        with tarfile.open(path) as tape:
            return tape.getnames()


class _Search:
    def __init__(self, layout: Layout, keep: Keep, scratch: Path, limit: int) -> None:
        self._layout, self._keep, self._scratch = layout, keep, scratch
        self._limit = self._left = limit
        self._files: dict[tuple[str, tuple[tuple[str, str], ...]], Found] = {}

    def take(self, name: str, path: Path) -> None:
        """Look at a file, an archive or a folder."""
        if path.is_dir():
            self._folder(path)
        elif _is_archive(path.name):
            self._archive(path)
        elif not self._single(name, path):
            self._packed(name, path)

    def found(self) -> dict[str, list[Found]]:
        files: dict[str, list[Found]] = {role: [] for role in self._layout.roles}
        for (role, _), file in sorted(self._files.items()):
            files[role].append(file)
        return files

    def _folder(self, folder: Path) -> None:
        inside = f"{folder.resolve().name}/"  # the market may be the folder's own name
        files = [(inside + name, path) for name, path in _files_of(folder)]
        taken = [name for name, path in files if self._single(name, path)]
        taken += [name for name, path in files if self._packed(name, path, again=False)]
        if not taken:
            for _, path in files:
                if _is_archive(path.name):
                    self._archive(path)

    def _single(self, name: str, path: Path) -> bool:
        """Take a file that is not packed, if it is of interest."""
        return self._wanted(name) is not None and self._add(name, lambda: path)

    def _packed(self, name: str, path: Path, again: bool = True) -> bool:
        """Take a .gz file, if what is in it is of interest and not here unpacked."""
        if not name.lower().endswith(".gz"):
            return False
        inner = name[: -len(".gz")]
        key = self._wanted(inner)
        if key is None or (key in self._files and not again):
            return False

        def unpack() -> Path:
            with _opening(path), gzip.open(path) as stream:
                return self._write(stream, inner, path)

        return self._add(inner, unpack)

    def _archive(self, path: Path) -> None:
        with _opening(path):
            if path.name.lower().endswith(".zip"):
                with zipfile.ZipFile(path) as packed:
                    self._zip(packed, path)
            else:
                with tarfile.open(path) as tape:
                    self._tar(tape, path)

    def _zip(self, packed: zipfile.ZipFile, path: Path) -> None:
        for member in packed.infolist():
            _check_name(member.filename, path)
            if member.is_dir() or self._wanted(member.filename) is None:
                continue
            if member.flag_bits & 1:
                raise DataError(
                    f"{path}: {member.filename} is encrypted. Expected the archive as published."
                )
            with packed.open(member) as stream:
                self._unpack(stream, member.filename, path)

    def _tar(self, tape: tarfile.TarFile, path: Path) -> None:
        for member in tape:
            _check_name(member.name, path)
            if member.isdir() or self._wanted(member.name) is None:
                continue
            stream = tape.extractfile(member) if member.isreg() else None
            if stream is None:
                raise DataError(
                    f"{path}: {member.name} is a link or a device. Expected a plain file, as in "
                    f"the archive as published."
                )
            with stream:
                self._unpack(stream, member.name, path)

    def _unpack(self, stream: IO[bytes], name: str, archive: Path) -> None:
        self._add(name, lambda: self._write(stream, name, archive))

    def _wanted(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]] | None:
        found = self._layout.role(name)
        if found is None or not self._keep(found[1]):
            return None
        return found[0], tuple(sorted(found[1].items()))

    def _add(self, name: str, path: Callable[[], Path]) -> bool:
        key = self._wanted(name)
        assert key is not None
        if key in self._files:
            raise DataError(
                f"Two files are the same one of the data set: {self._files[key].name} and {name}. "
                f"Expected one; give the path of the folder or file that is meant."
            )
        self._files[key] = Found(name, path(), dict(key[1]))
        return True

    def _write(self, stream: Readable, name: str, archive: Path) -> Path:
        target = self._scratch / str(len(self._files)) / PurePosixPath(name).name
        with atomic_path(target) as temporary, temporary.open("wb") as out:
            for chunk in _chunks(stream, archive):
                self._left -= len(chunk)
                if self._left < 0:
                    raise DataError(
                        f"{archive} holds more than {self._limit / GIB:g} GiB unpacked, which is "
                        f"the limit for this data set. Expected the archive as published."
                    )
                out.write(chunk)
        return target


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path


def _is_archive(name: str) -> bool:
    return name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def _check_name(name: str, archive: Path) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts[:1] or ("",))[0]:
        raise DataError(
            f"{archive} holds a file {name!r} that would be written outside of its folder. "
            f"Expected the archive as published; nothing of it was used."
        )


def _chunks(stream: Readable, archive: Path) -> Iterator[bytes]:
    """Pieces of a stream; a fault of reading is told apart from one of writing."""
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except _BROKEN as error:
            raise _not_whole(archive, error) from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise _not_whole(path, error) from error


def _not_whole(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"{path} is not a whole archive: {str(error) or type(error).__name__}. Expected the file "
        f"as published; get it again."
    )
