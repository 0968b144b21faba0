"""The index of all domains on disk: `domains.json`, `augmented.safetensors`, ids of each domain."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError, DataError, NotFoundError, did_you_mean
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.retrieval.augmented import AugmentedDomain, AugmentedIndex, DomainFactors
from lorarec.storage import read_tensors, write_tensors

RECORD, TENSORS = "domains.json", "augmented.safetensors"
PARTS = tuple(field.name for field in fields(DomainFactors))


class DomainEntry(Record):
    """One domain of the index; its place in the list names its tensors and its ids."""

    name: str
    adapter_digest: str | None
    """None of the bare base."""
    items: int
    item_vocabulary: str
    """Digest of the ids."""
    bytes: int
    """Of the domain alone, in memory."""
    merged_bytes: int
    """Of an index of whole vectors for it."""


class AugmentedInfo(Record):
    """All that is known of it besides its numbers."""

    format_version: int = FORMAT
    base_digest: str
    unit_items: bool
    """Whether items are compared at norm 1 (cosine)."""
    shared_bytes: int
    """Of the base's item vectors."""
    domains: list[DomainEntry]
    tensors_digest: str
    """SHA-256 of augmented.safetensors."""
    versions: dict[str, str]

    @property
    def all_bytes(self) -> int:
        """In memory, with all domains."""
        return self.shared_bytes + sum(entry.bytes for entry in self.domains)

    @property
    def merged_bytes(self) -> int:
        """Of an index of whole vectors for each domain instead."""
        return sum(entry.merged_bytes for entry in self.domains)


@dataclass(frozen=True)
class NewDomain:
    """A domain that goes into the index."""

    name: str
    adapter_digest: str | None
    items: Vocabulary
    factors: DomainFactors


@dataclass(frozen=True, eq=False)
class StoredDomain:
    """One domain of a stored index."""

    index: AugmentedDomain
    items: Vocabulary
    entry: DomainEntry
    base_digest: str


def save_augmented(
    index: AugmentedIndex,
    domains: list[NewDomain],
    base_digest: str,
    versions: dict[str, str],
    folder: Path,
) -> AugmentedInfo:
    """Put domains into an index and write it into an existing folder.

    Raises:
        DataError: Factors do not fit the shared vectors.
    """
    tensors: dict[str, np.ndarray[Any, Any]] = {"vectors": index.vectors}
    entries = []
    for number, new in enumerate(domains):
        own = index.put(new.name, new.factors)
        for part in PARTS:
            if (array := getattr(own.factors, part)) is not None:
                tensors[f"{number}.{part}"] = array
        entries.append(
            DomainEntry(
                name=new.name,
                adapter_digest=new.adapter_digest,
                items=len(new.items),
                item_vocabulary=new.items.save(folder / f"items-{number}.parquet"),
                bytes=own.nbytes,
                merged_bytes=own.merged_bytes,
            )
        )
    info = AugmentedInfo(
        base_digest=base_digest,
        unit_items=index.unit_items,
        shared_bytes=index.vectors.nbytes,
        domains=entries,
        tensors_digest=write_tensors(folder / TENSORS, tensors),
        versions=versions,
    )
    save_record(folder / RECORD, info)
    return info


def load_domain(folder: Path, domain: str) -> StoredDomain:
    """One domain of an index, checked.

    Raises:
        NotFoundError: The index does not have it; the nearest names are told.
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / RECORD, AugmentedInfo)
    names = [entry.name for entry in info.domains]
    if domain not in names:
        raise NotFoundError(
            f"The index in {folder} has no domain {domain!r}.{did_you_mean(domain, names)}"
        )
    number = names.index(domain)
    entry = info.domains[number]
    items = Vocabulary.load(folder / f"items-{number}.parquet", entry.item_vocabulary)
    tensors = read_tensors(folder / TENSORS, info.tensors_digest)
    try:
        parts = {part: tensors[f"{number}.{part}"] for part in PARTS if part != "bias"}
        factors = DomainFactors(**parts, bias=tensors.get(f"{number}.bias"))
        index = AugmentedIndex(tensors["vectors"], info.unit_items).put(domain, factors)
    except (KeyError, DataError) as error:
        raise ArtifactError(
            f"{folder / TENSORS} does not hold what {RECORD} says of {domain!r}: {error} Build the "
            f"index again."
        ) from error
    if len(items) != len(index):
        raise ArtifactError(
            f"The index in {folder} has {len(items):,} ids and {len(index):,} items of {domain!r}. "
            f"Expected one of each; build it again."
        )
    return StoredDomain(index, items, entry, info.base_digest)
