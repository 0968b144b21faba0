"""Downloading one file: in pieces, going on where it stopped, patient with what may pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lorarec.data.public.http import HttpError, request
from lorarec.data.public.part import ChecksumError, Part
from lorarec.data.public.record import RemoteFile
from lorarec.data.public.watch import SILENT, Watcher
from lorarec.errors import DataError, LorarecError, NotFoundError

_FROM_THE_START = frozenset({206, 412})
_GONE = frozenset({404, 410})


@dataclass(frozen=True)
class Patience:
    """How long a download bears with faults that may pass."""

    attempts: int = 5
    """Attempts in a row that bring nothing new."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    longest_wait: float = 30.0
    """Seconds that are never exceeded, whatever the server asks for."""
    timeout: float = 30.0
    """Seconds to wait for a connection and for each piece."""


PATIENT = Patience()


def download(
    file: RemoteFile,
    path: Path,
    by_hand: str = "",
    watcher: Watcher = SILENT,
    patience: Patience = PATIENT,
) -> str:
    """Download a file, whole or not at all.

    What has come is kept as `PATH.part` until the file is whole, so that a second call goes on
    there. A server that cannot send a part, or whose file has changed, sends all of it again.

    Args:
        file: The file.
        path: Where it goes. Its folder is made if absent.
        by_hand: A sentence for errors: what to do without a download.
        watcher: Where words and progress go.
        patience: How faults are borne.

    Returns:
        Hex SHA-256 of the file.

    Raises:
        NotFoundError: The server has no such file.
        DataError: It cannot be reached, breaks off again and again, or sends another file.
        StoreError: The disk refused.
    """
    part = Part(path, file)
    try:
        return _whole(file, part, by_hand, watcher, patience)
    except ChecksumError:
        if not part.resumed:
            raise
    watcher.say(f"The pieces of {file.name} do not fit together; getting it from the start.")
    return _whole(file, Part(path, file), by_hand, watcher, patience)


def _whole(file: RemoteFile, part: Part, by_hand: str, watcher: Watcher, patience: Patience) -> str:
    furthest, failures = part.size(), 0
    while True:
        try:
            _attempt(file, part, watcher, patience)
            return part.finish()
        except HttpError as fault:
            failures = 1 if part.size() > furthest else failures + 1
            furthest = max(furthest, part.size())
            restart = fault.code in _FROM_THE_START
            if not (fault.passing or restart) or failures >= patience.attempts:
                raise _gave_up(file, fault, by_hand, part.size()) from fault
            if restart:
                part.drop()
            wait = min(
                patience.first_wait * 2 ** (failures - 1) if fault.wait is None else fault.wait,
                patience.longest_wait,
            )
            watcher.say(
                f"{file.name}: {fault.reason}. Trying again in {wait:g} s "
                f"(failure {failures} of {patience.attempts})."
            )
            time.sleep(wait)


def _attempt(file: RemoteFile, part: Part, watcher: Watcher, patience: Patience) -> None:
    start, validator = part.start()
    with request(file.url, start, validator, patience.timeout) as answer:
        if answer.start:
            watcher.say(f"{file.name}: going on after {answer.start / 1e6:,.1f} MB.")
        total = answer.total
        watcher.begin(file.name, None if total is None else total - answer.start)

        def counted() -> Iterator[bytes]:
            for chunk in answer.chunks():
                watcher.step(len(chunk))
                yield chunk

        part.take(answer, counted())
        if total is not None and part.size() != total:
            raise HttpError(
                f"the connection ended after {part.size():,} of {total:,} bytes", passing=True
            )


def _gave_up(file: RemoteFile, fault: HttpError, by_hand: str, kept: int) -> LorarecError:
    host = urlsplit(file.url).hostname or file.url
    if fault.code in _GONE:
        return NotFoundError(
            f"{file.url} is not there: {fault.reason}. Expected the file {file.name}; its source "
            f"may have moved it. {by_hand}".rstrip()
        )
    rest = f" The {kept / 1e6:,.1f} MB that came are kept: a new try goes on there." if kept else ""
    return DataError(
        f"{file.url} could not be downloaded: {fault.reason}. Expected an answer of {host}; try "
        f"again when it can be reached.{rest} {by_hand}".rstrip()
    )
