"""What a prepared data set says of itself: its generations, their files, and a digest of each.

A generation is what one `prepare` or `append` wrote. No file is changed afterwards, only replaced
as a whole where rows are forgotten (`forgetting.py`), and the manifest is replaced by a rename, so
a reader sees a whole generation or none of it; an earlier one can be read as long as the data set
lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lorarec.data.duplicates import Duplicates
from lorarec.data.splits import SplitRecord
from lorarec.errors import ArtifactError
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import sha256_bytes

NAME = "manifest.json"
Kind = Literal["lorarec prepared data set"]
KIND: Kind = "lorarec prepared data set"
Table = Literal["rows", "users", "items", "domains", "core", "presence"]
VOCABULARIES: tuple[Table, ...] = ("users", "items", "domains")
LASTING: tuple[Table, ...] = (*VOCABULARIES, "rows", "core")
"""What every generation keeps as long as the data set lives."""
TABLES: tuple[Table, ...] = (*LASTING, "presence")


class FileRecord(Record):
    """One parquet file of the data set."""

    table: Table
    """What it holds."""
    name: str
    """Path below the data set's folder."""
    rows: int
    """How many."""
    size: int
    """Bytes."""
    sha256: str
    """Of its bytes."""


class SourceFile(Record):
    """A file of logs that was read."""

    path: str
    """Absolute, as it was then."""
    sha256: str
    """Of its bytes: the same file is not taken twice."""


class Options(Record):
    """How logs become rows; fixed by `prepare`, and the same for every `append`."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"duplicates", "min_user_rows", "min_item_rows", "seed"}
    )

    columns: dict[str, str] = Field(default_factory=dict)
    """Contract name → the files' name."""
    events: dict[str, float] = Field(default_factory=dict)
    """Event type → weight."""
    min_rating: float | None = None
    """Rows rated below it are left out."""
    rating_weight: bool = False
    """Whether a rating weighs a row without a weight."""
    on_bad_rows: Literal["error", "quarantine", "drop"] = "error"
    """What rows that break the contract do."""
    duplicates: Duplicates = "keep"
    """What rows that repeat a (user, item, domain) do, once they are split; `refuse` at once."""
    min_user_rows: int = 0
    """Train rows that a user of the core has; 0 or 1 takes none out."""
    min_item_rows: int = 0
    """Train rows that an item of the core has; 0 or 1 takes none out."""
    split: Literal["time", "column", "random", "leave-last-out", "none"] = "time"
    """How the rows are split; `none` leaves it to whoever trains on them, and with it the core and
    repeats that are not refused."""
    valid_share: float = 0.1
    """Of the rows, for a split by time; of the pairs, for a random one."""
    test_share: float = 0.1
    """Of the rows or pairs, as `valid_share`."""
    seed: int = 0
    """Of a random split."""


class DomainCounts(Record):
    """Rows of one domain, and when they happened."""

    rows: int
    first: int | None
    """Second of the first row; None without timestamps."""
    last: int | None
    """Second of the last row."""


class Generation(Record):
    """What one `prepare` or `append` added."""

    later: ClassVar[frozenset[str]] = frozenset({"was"})

    number: int
    """0 for `prepare`."""
    digest: str
    """SHA-256 over the digest of the generation before and all that this one added."""
    files: list[FileRecord]
    sources: list[SourceFile]
    rows: int
    """Rows added."""
    dropped_bad: int
    """Rows left out because they break the contract."""
    dropped_low_rating: int
    """Rows left out because of their rating."""
    broken: dict[str, int]
    """Broken rule → rows, where bad rows were left out."""
    domains: dict[str, DomainCounts]
    """Of the rows added, by domain."""
    split: SplitRecord | None
    """The split of all rows up to this generation; None where it is left to later."""
    versions: dict[str, str]
    """Of the libraries that wrote it."""
    was: list[str] = Field(default_factory=list)
    """Digests that it had before rows were forgotten, the first one first: what was trained on it
    then names it by these."""


class Manifest(Record):
    """All generations of a data set."""

    kind: Kind = KIND
    format_version: int = FORMAT
    options: Options
    generations: list[Generation] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Of the newest generation: what a base trained on it records."""
        return self.generations[-1].digest

    def upto(self, digest: str | None) -> Manifest | None:
        """The data set as it was when it had this digest, but for what was forgotten since; None
        where it never had."""
        if digest is None:
            return self
        for place, generation in enumerate(self.generations):
            if digest in (generation.digest, *generation.was):
                return self.model_copy(update={"generations": self.generations[: place + 1]})
        return None

    def files(self, table: Table) -> list[FileRecord]:
        """Files of one table, oldest first."""
        return of_table(self.all_files, table)

    @property
    def all_files(self) -> list[FileRecord]:
        """Files of every table, oldest first."""
        return [f for g in self.generations for f in g.files]

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(generation.rows for generation in self.generations)


def of_table(files: Iterable[FileRecord], table: Table) -> list[FileRecord]:
    """Those of some files that hold one table, in their order."""
    return [file for file in files if file.table == table]


def is_prepared(path: Path) -> bool:
    """Whether a folder is a prepared data set."""
    return path.is_dir() and (path / NAME).is_file()


def with_digest(before: str, generation: Generation) -> Generation:
    """A generation with its digest: of the one before and of all that it says of itself.

    Where its logs lay and which libraries read them is not part of it: the same logs give the same
    digest in another folder.
    """
    shown = generation.model_dump(
        exclude={"digest": True, "versions": True, "sources": {"__all__": {"path"}}}
    )
    digest = sha256_bytes(before.encode(), json.dumps(shown, sort_keys=True).encode())
    return generation.model_copy(update={"digest": digest})


def first_digest(options: Options) -> str:
    """What the chain of digests begins with."""
    return sha256_bytes(json.dumps(options.model_dump(), sort_keys=True).encode())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    save_record(folder / NAME, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest and check the chain of its digests.

    Raises:
        ArtifactError: It is missing, no manifest, of a newer format, or was edited.
    """
    path = folder / NAME
    manifest = load_record(path, Manifest)
    before = first_digest(manifest.options)
    for generation in manifest.generations:
        if with_digest(before, generation).digest != generation.digest:
            raise ArtifactError(
                f"{path}: generation {generation.number} does not have the digest "
                f"{generation.digest[:12]} that it names. It was edited; bring the old file back, "
                f"or prepare the data set again."
            )
        before = generation.digest
    return manifest
