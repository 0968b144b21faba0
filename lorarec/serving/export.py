"""A domain's merged model as files that serve without lorarec."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.recommend import Ready, recommender
from lorarec.models.artefact import library_versions
from lorarec.record import FORMAT, Record, save_record
from lorarec.retrieval.vectors import checked
from lorarec.storage import atomic_dir, sha256_file, write_tensors, write_text

RECORD = "export.json"
VECTORS, INDEX, USERS, ITEMS = "vectors.safetensors", "items.faiss", "users.json", "items.json"
EXAMPLE = "example.py"


class ExportInfo(Record):
    """All that an export says of itself."""

    format_version: int = FORMAT
    domain: str
    base_digest: str
    adapter_digest: str | None
    """None of the bare base."""
    users: int
    """Users with a vector; users.json has those that have only rows behind them."""
    items: int
    """Of the catalogue."""
    dim: int
    """d; the vectors have one more, where an item has its bias and a user a 1."""
    score: str = "inner product of a user's and an item's vector, highest first"
    files: dict[str, str]
    """SHA-256 of each."""
    versions: dict[str, str]


def export_domain(ready: Ready, out: Path) -> ExportInfo:
    """Write a domain's vectors, index and ids, and a program that ranks by them.

    The adapter is in the vectors. Users are all that base and adapter know; items are the domain's
    catalogue, and what a user has had there is left out of its list as `recommend` does.

    Args:
        ready: From `jobs.recommend.prepare`.
        out: A folder that is new or empty; it is there whole or not at all.

    Raises:
        StoreError: The folder holds something, or the disk refused.
    """
    import faiss

    by = recommender(ready)
    catalogue = by.arena.catalogue
    vectors, bias, _ = ready.scorer.item_vectors(catalogue.series)
    # Folded as the index does, and always: so that a reader has one case.
    items = checked("item vectors", np.hstack([vectors, bias[:, None]]))
    known = ready.scorer.users.series.drop_nulls()  # those that were forgotten
    rows = by.arena.frame.filter(pl.col("split").is_in(by.seen_parts))["user_id"].unique().sort()
    users = Vocabulary(known).extend(rows)
    own, _ = ready.scorer.user_vectors(known)
    seen = by.seen(users.series).tocsr().sorted_indices()
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "items": items,
        "users": np.hstack([own, np.ones((len(own), 1), np.float32)]),
        "popularity": by.arena.popularity,
        "seen_offsets": seen.indptr.astype(np.int64),
        "seen_items": seen.indices.astype(np.int64),
    }
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    with atomic_dir(out) as folder:
        write_tensors(folder / VECTORS, tensors)
        faiss.write_index(index, str(folder / INDEX))
        for name, ids in ((USERS, users.series), (ITEMS, catalogue.series)):
            write_text(folder / name, json.dumps(ids.to_list(), ensure_ascii=False, indent=0))
        source = resources.files("lorarec.serving") / "example.py"
        write_text(folder / EXAMPLE, source.read_text(encoding="utf-8"))
        info = ExportInfo(
            domain=ready.arena.domain,
            base_digest=ready.base.digest,
            adapter_digest=ready.adapter.info.digest if ready.adapter else None,
            users=len(known),
            items=len(catalogue),
            dim=vectors.shape[1],
            files={file.name: sha256_file(file) for file in sorted(folder.iterdir())},
            versions=library_versions(),
        )
        save_record(folder / RECORD, info)
    return info
