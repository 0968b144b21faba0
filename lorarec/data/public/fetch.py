"""All files of a public data set: downloaded or here already, each digest on record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorarec.data.public.download import PATIENT, Patience, download
from lorarec.data.public.part import digest_of
from lorarec.data.public.record import Chosen, RemoteFile, Source
from lorarec.data.public.watch import SILENT, Watcher
from lorarec.errors import ArtifactError, DataError
from lorarec.storage import read_json, write_json

RECORD = "downloads.json"
FOLDER = "raw"


@dataclass(frozen=True)
class Fetched:
    """A downloaded file."""

    name: str
    path: Path
    url: str
    bytes: int
    sha256: str


def fetch(
    source: Source,
    chosen: Chosen,
    out: Path,
    force: bool = False,
    watcher: Watcher = SILENT,
    patience: Patience = PATIENT,
) -> list[Fetched]:
    """Download what is not here yet.

    The digest of each file goes to `downloads.json`. A file that is here with that digest, or with
    the checksum that its source publishes, is not downloaded again.

    Args:
        source: The data set.
        chosen: From `source.choose`.
        out: The folder of the data set; files go to `raw/` below it.
        force: Accept a file that is another than the one recorded.
        watcher: Where words and progress go.
        patience: How faults are borne.

    Returns:
        The files, in the order of `source.files`.

    Raises:
        DataError: A file cannot be had, or has changed since it was recorded.
        StoreError: The disk refused.
    """
    record = _record(out)
    files = source.files(chosen)
    fetched = []
    for position, file in enumerate(files, 1):
        path = out / FOLDER / file.name
        known = record.get(file.name, {})
        earlier = known.get("sha256", "") if known.get("url") == file.url else ""
        sha256 = _here(file, path, earlier, watcher)
        if not sha256:
            watcher.say(f"Getting {file.url} ({position} of {len(files)}).")
            sha256 = download(file, path, _by_hand(source), watcher, patience)
            if earlier and not file.checksum and sha256 != earlier and not force:
                path.unlink()
                raise DataError(
                    f"{file.url} has changed: its SHA-256 is {sha256}, and was {earlier} when it "
                    f"was first downloaded to {out}. Expected the same file; `lorarec data get "
                    f"{source.name} {out} --force` takes the new one."
                )
        found = Fetched(file.name, path, file.url, path.stat().st_size, sha256)
        record[file.name] = {k: v for k, v in asdict(found).items() if k not in {"name", "path"}}
        write_json(out / RECORD, record)
        fetched.append(found)
    return fetched


def _here(file: RemoteFile, path: Path, earlier: str, watcher: Watcher) -> str:
    """The digest of a file that is here already, if it is the right one."""
    if not path.is_file():
        return ""
    sha256, wrong = digest_of(path, file.checksum)
    if (file.checksum and not wrong) or (not file.checksum and sha256 == earlier):
        watcher.say(f"{path} is here already.")
        return sha256
    watcher.say(f"{path} is not the file that was downloaded; getting it again.")
    return ""


def _record(out: Path) -> dict[str, dict[str, Any]]:
    path = out / RECORD
    if not path.is_file():
        return {}
    record = read_json(path)
    if not isinstance(record, dict) or not all(isinstance(v, dict) for v in record.values()):
        raise ArtifactError(
            f"{path} is not the record of downloads that `lorarec data get` writes. Expected the "
            f"digest of each file by its name; remove it to download again."
        )
    return record


def _by_hand(source: Source) -> str:
    return (
        f"Or get the files by hand, from {source.page} or on a machine with a network, and run "
        f"`lorarec data import {source.name} PATH`."
    )
