"""An index on disk: `index.json`, `items.parquet`, `vectors.safetensors` and `index.faiss`.

It is bound to the base and the adapter whose vectors it holds, by their digests. Its items are
sorted by id, so that ties of scores go to the lowest id whenever an item was added.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.retrieval.approximate import ApproximateIndex, Effort
from lorarec.retrieval.factory import EXACT
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.vectors import CatalogueVectors, Metric
from lorarec.storage import read_tensors, sha256_file, write_tensors

RECORD, VECTORS, GRAPH, ITEMS = "index.json", "vectors.safetensors", "index.faiss", "items.parquet"
StoredKind = ExactIndex | ApproximateIndex


class IndexReport(Record):
    """What an index was found to be, beside exact search on the same users."""

    items: int
    """How many it held then."""
    users: int
    """How many were asked for."""
    k: int
    target: float
    """Recall that was wanted."""
    recall: float
    """Mean share of the exact top k that was found."""
    queries_per_second: float
    exact_queries_per_second: float
    build_seconds: float
    index_bytes: int
    """Of the FAISS index; 0 for exact search."""
    vector_bytes: int
    """Of the vectors that scores are computed of."""


class IndexInfo(Record):
    """All that is known of an index besides its numbers."""

    format_version: int = FORMAT
    domain: str
    factory: str
    """As FAISS takes it; `Flat` is exact search."""
    metric: Metric = "ip"
    dim: int = Field(ge=1)
    items: int = Field(ge=0)
    item_vocabulary: str
    """Digest of the ids."""
    effort: int = 1
    """`nprobe` or `efSearch`."""
    candidates: int = 1
    """Rescored candidates for each item that is wanted."""
    length: float | None = None
    """M of the lifted space; None for inner products."""
    base_digest: str
    adapter_digest: str | None
    """None of the bare base."""
    vectors_digest: str
    """SHA-256 of vectors.safetensors."""
    faiss_digest: str | None
    """SHA-256 of index.faiss; None for exact search."""
    report: IndexReport
    versions: dict[str, str]


@dataclass(frozen=True, eq=False)
class StoredIndex:
    """An index and the ids of its items."""

    index: StoredKind
    items: Vocabulary
    """Sorted; an item's row in the index is its place here."""
    info: IndexInfo


def save_index(stored: StoredIndex, folder: Path) -> IndexInfo:
    """Write an index into an existing folder; the folder's maker renames it into place.

    Returns:
        The record as written, with the digests of the files.
    """
    index, catalogue = stored.index, stored.index.catalogue
    tensors: dict[str, np.ndarray[Any, Any]] = {"vectors": catalogue.vectors}
    faiss_digest, effort, length = None, Effort(1), None
    if isinstance(index, ApproximateIndex):
        import faiss

        faiss.write_index(index.faiss, str(folder / GRAPH))
        faiss_digest = sha256_file(folder / GRAPH)
        tensors["slots"] = index.slots
        effort, length = index.effort, index.space.length
    info = stored.info.model_copy(
        update={
            "items": len(stored.items),
            "item_vocabulary": stored.items.save(folder / ITEMS),
            "effort": effort.value,
            "candidates": effort.candidates,
            "length": length,
            "vectors_digest": write_tensors(folder / VECTORS, tensors),
            "faiss_digest": faiss_digest,
        }
    )
    save_record(folder / RECORD, info)
    return info


def load_index(folder: Path) -> StoredIndex:
    """Read an index and check everything it claims of itself; FAISS reads what has its digest.

    Raises:
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / RECORD, IndexInfo)
    items = Vocabulary.load(folder / ITEMS, info.item_vocabulary)
    tensors = read_tensors(folder / VECTORS, info.vectors_digest)
    vectors = tensors.get("vectors", np.empty((0, 0), np.float32))
    shapes = {(len(items), info.dim), (len(items), info.dim + 1)}
    finite = vectors.dtype == np.float32 and bool(np.isfinite(vectors).all())
    if vectors.shape not in shapes or not finite or not items.series.is_sorted():
        raise _not_whole(folder, f"{len(items):,} sorted items and vectors {vectors.shape}")
    rows = np.arange(len(items), dtype=np.int64)
    catalogue = CatalogueVectors(vectors, rows, info.dim, info.metric)
    if info.faiss_digest is None:
        return StoredIndex(ExactIndex.over(catalogue), items, info)
    return StoredIndex(_approximate(folder, info, catalogue, tensors), items, info)


def _approximate(
    folder: Path,
    info: IndexInfo,
    catalogue: CatalogueVectors,
    tensors: dict[str, np.ndarray[Any, Any]],
) -> ApproximateIndex:
    import faiss

    file = folder / GRAPH
    if not file.is_file():
        raise ArtifactError(f"{file} is missing. Expected it beside {RECORD}; build it again.")
    if (found := sha256_file(file)) != info.faiss_digest:
        raise ArtifactError(
            f"{file} has digest {found[:12]}, {RECORD} says {str(info.faiss_digest)[:12]}. "
            f"It was truncated or edited; build the index again."
        )
    try:
        index = faiss.read_index(str(file))
    except RuntimeError as error:
        raise ArtifactError(
            f"{file} cannot be read by this FAISS ({str(error).splitlines()[0]}); it was written "
            f"by {info.versions.get('faiss-cpu', 'another')}. Build the index again."
        ) from error
    slots = tensors.get("slots", np.empty(0, np.int64))
    held = np.sort(slots[slots >= 0])
    if len(slots) != index.ntotal or not np.array_equal(held, catalogue.item_rows):
        raise _not_whole(folder, f"{len(slots):,} slots for {index.ntotal:,} vectors of FAISS")
    effort = Effort(info.effort, info.candidates)
    return ApproximateIndex.restored(catalogue, info.factory, effort, index, slots, info.length)


def _not_whole(folder: Path, what: str) -> ArtifactError:
    return ArtifactError(
        f"The index in {folder} holds {what}, which do not belong together. Expected one of each "
        f"for every item; build it again."
    )


def exact_kind(factory: str) -> bool:
    """Whether a factory string asks for exact search."""
    return factory.strip() == EXACT
