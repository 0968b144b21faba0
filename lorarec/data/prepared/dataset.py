"""A prepared data set opened: checked whole, read lazily, as it is now or as it once was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from lorarec.data.duplicates import NUMBERS, resolved
from lorarec.data.part_counts import in_order
from lorarec.data.prepared.manifest import (
    LASTING,
    VOCABULARIES,
    FileRecord,
    Generation,
    Manifest,
    Table,
    is_prepared,
    read_manifest,
)
from lorarec.data.prepared.refining import Fallen, by_numbers, find_core, read_fallen
from lorarec.data.prepared.shards import check_files, read_ids, scan_rows
from lorarec.data.schema import SCHEMA
from lorarec.data.splits import SplitRecord, apply_split
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError, NotFoundError, did_you_mean


@dataclass(frozen=True, eq=False)
class PreparedDataset:
    """Logs as numbers in a folder. Made by `open_dataset`.

    Attributes:
        folder: Where it is.
        manifest: Its generations, up to the one that was asked for.
    """

    folder: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Of all that is in it: the same after every opening, another after an append."""
        return self.manifest.digest

    @property
    def last(self) -> Generation:
        """The newest generation."""
        return self.manifest.generations[-1]

    @property
    def split(self) -> SplitRecord | None:
        """How its rows are split; None where that is left to later."""
        split = self.last.split
        # JSON is written with sorted keys: train, valid and test come first again.
        return split and split.model_copy(update={"counts": in_order(split.counts)})

    def domain_rows(self) -> dict[str, int]:
        """Rows of each domain, repeats included, from the manifest alone."""
        rows: dict[str, int] = {}
        for generation in self.manifest.generations:
            for name, counts in generation.domains.items():
                rows[name] = rows.get(name, 0) + counts.rows
        return rows

    def __len__(self) -> int:
        return self.manifest.rows

    @cached_property
    def users(self) -> Vocabulary:
        """Every user's row; a later generation only appends."""
        return self._vocabulary("users")

    @cached_property
    def items(self) -> Vocabulary:
        """Every item's row; a later generation only appends."""
        return self._vocabulary("items")

    @cached_property
    def domains(self) -> Vocabulary:
        """Every domain's row, in order of first appearance."""
        return self._vocabulary("domains")

    def ids(self, table: Table) -> pl.Series:
        """Ids of a vocabulary in the order of their rows: String (n,)."""
        return read_ids(self.folder, self._files(table))

    def sizes(self) -> dict[Table, int]:
        """Ids of each vocabulary, from the manifest alone."""
        return {table: sum(f.rows for f in self._files(table)) for table in VOCABULARIES}

    def scan(self, domain: str | None = None) -> pl.LazyFrame:
        """Rows as numbers, `shards.ROWS`, oldest first; of one domain without reading the others.

        Raises:
            NotFoundError: There is no such domain; the nearest names are told.
        """
        rows = scan_rows(self.folder, self._files("rows"))
        if domain is None:
            return rows
        place = self.domains.rows([domain], missing="mark")[0]
        if place < 0:
            raise NotFoundError(
                f"There is no domain {domain!r} in {self.folder}."
                f"{did_you_mean(domain, self.domains.series.to_list())}"
            )
        return rows.filter(pl.col("domain") == place)

    def frame(self, domain: str | None = None) -> pl.DataFrame:
        """Canonical logs, ids instead of numbers again; `split` is that of the logs, not applied.

        Args:
            domain: One of them alone; None takes all.
        """
        return self._canonical(self.scan(domain).collect())

    def split_frame(self, split: SplitRecord, domain: str | None = None) -> pl.DataFrame:
        """Canonical logs, split: repeats resolved, and rows off the core in a part of their own.

        Args:
            split: The data set's own, or another.
            domain: One of them alone; None takes all.

        Raises:
            DataError: The rows do not hold what the split needs.
        """
        if not split.refines:
            return apply_split(self.frame(domain), split)
        if split.follows_the_rows:
            whole = apply_split(self.frame(), split)
            return whole if domain is None else whole.filter(pl.col("domain") == domain)
        rows = by_numbers(self.scan(domain).collect(), split)
        rows, _ = resolved(rows, split.duplicates, NUMBERS)
        if split.has_core:
            rows, _ = self.fallen(split).mark(rows)
        return self._canonical(rows)

    def fallen(self, split: SplitRecord) -> Fallen:
        """What is outside of the core of all rows: kept of the own split, else found anew."""
        if self.split == split:
            (record,) = (f for f in self.last.files if f.table == "core")
            return read_fallen(self.folder, record, self.sizes())
        return find_core(self.folder, self.manifest.all_files, self.sizes(), split)

    def _canonical(self, rows: pl.DataFrame) -> pl.DataFrame:
        ids = {
            column: vocabulary.series.gather(rows[own]).alias(column)
            for column, own, vocabulary in (
                ("user_id", "user", self.users),
                ("item_id", "item", self.items),
                ("domain", "domain", self.domains),
            )
        }
        return rows.drop("user", "item", "domain").with_columns(**ids).select(list(SCHEMA))

    def _files(self, table: Table) -> list[FileRecord]:
        return self.manifest.files(table)

    def _vocabulary(self, table: Table) -> Vocabulary:
        return Vocabulary.of_distinct(self.ids(table))


def open_dataset(
    folder: Path, digest: str | None = None, trusting: bool = False
) -> PreparedDataset:
    """Open a prepared data set and check every file of it.

    Args:
        folder: Of the data set.
        digest: Opens the data set as it was when it had this digest; None as it is now.
        trusting: Check the sizes of its files alone: whoever reads one then checks its bytes.

    Raises:
        DataError: There is no data set, or it never had this digest.
        ArtifactError: A file is missing, truncated or edited; it is named.
    """
    if not is_prepared(folder):
        raise DataError(
            f"{folder} is no prepared data set: it has no manifest.json. Expected a folder that "
            f"`lorarec data prepare LOGS {folder}` made."
        )
    whole = read_manifest(folder)
    manifest = whole.upto(digest)
    if manifest is None:
        known = ", ".join(g.digest[:12] for g in whole.generations[-5:])
        raise DataError(
            f"{folder} never had the digest {(digest or '')[:12]}; it has had {known}. Expected "
            f"the data set that was meant: bring it back, or name another with --data."
        )
    for table in LASTING:
        check_files(folder, manifest.files(table), bytes_too=not trusting)
    return PreparedDataset(folder, manifest)
