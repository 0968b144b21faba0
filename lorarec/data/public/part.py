"""A download that is not whole yet: `FILE.part`, and beside it what proves that more of it fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from lorarec.data.public.http import Answer
from lorarec.data.public.record import RemoteFile
from lorarec.errors import DataError, StoreError
from lorarec.storage import atomic_path, write_json


class ChecksumError(DataError):
    """A whole file that is not what its source publishes."""


class Part:
    """The bytes of a file that have come so far."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self._file = file
        self._target = path
        self.path = path.with_name(path.name + ".part")
        self._notes = path.with_name(path.name + ".part.json")
        self.resumed = False
        """Whether bytes were added to some that were there before."""

    def start(self) -> tuple[int, str]:
        """From where to ask, and the validator of what is there; 0 where nothing proves a fit.

        Bytes are kept when they are of this address and either the server can say that the file is
        still the same, or a published checksum will tell in the end.
        """
        size = self.size()
        try:
            notes = json.loads(self._notes.read_text()) if size else {}
        except (OSError, ValueError):
            notes = {}
        if not isinstance(notes, dict) or notes.get("url") != self._file.url:
            return 0, ""
        validator = str(notes.get("validator", ""))
        return (size, validator) if validator or self._file.checksum else (0, "")

    def size(self) -> int:
        """Bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def take(self, answer: Answer, chunks: Iterable[bytes]) -> None:
        """Write what an answer brings, behind what there is or in place of it.

        Raises:
            StoreError: The disk refused.
        """
        self.resumed = self.resumed or answer.start > 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not answer.start:
                self.path.unlink(missing_ok=True)
                write_json(self._notes, {"url": self._file.url, "validator": answer.validator})
            out = self.path.open("ab")
        except OSError as error:
            raise self._refused(error) from error
        with out:
            for chunk in chunks:
                try:
                    out.write(chunk)
                    out.flush()
                except OSError as error:
                    raise self._refused(error) from error

    def drop(self) -> None:
        """Forget all of it."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def finish(self) -> str:
        """Put the whole file in its place.

        Returns:
            Hex SHA-256 of the file.

        Raises:
            ChecksumError: It is not what its source publishes; it is removed.
            StoreError: The disk refused.
        """
        sha256, wrong = digest_of(self.path, self._file.checksum)
        if wrong:
            self.drop()
            raise ChecksumError(
                f"{self._file.url} has {wrong}. It was damaged on the way, or is another file "
                f"than the one that lorarec knows. It was removed; get it again, and if that ends "
                f"the same, look at the source's page."
            )
        with atomic_path(self._target) as temporary:
            self.path.replace(temporary)
        self.drop()
        return sha256

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(
            f"Could not write {self.path}: {(error.strerror or str(error)).lower()}. Expected room "
            f"for the whole file in a folder that can be written to. What has come so far is kept; "
            f"free some space, then run the command again and it goes on there."
        )


def digest_of(path: Path, checksum: str) -> tuple[str, str]:
    """Hex SHA-256 of a file, and what is wrong with it.

    Args:
        path: The file.
        checksum: `md5:...` or `sha256:...`; empty where none is known.

    Returns:
        The digest, and a phrase with what was found and expected; empty where all is well.
    """
    kind, _, expected = checksum.partition(":")
    digests = {name: _digest(path, name) for name in {"sha256", kind or "sha256"}}
    found = digests[kind] if kind else expected
    wrong = "" if found == expected else f"the {kind.upper()} {found}, expected {expected}"
    return digests["sha256"], wrong


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()
