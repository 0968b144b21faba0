"""Who and what is in each part, kept so that an append counts its own rows alone.

It is worked out of the rows and can be again: a data set without it, or with a damaged one, is
counted anew. Only the newest generation has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.part_counts import PartCounts
from lorarec.data.prepared.counting import Part
from lorarec.data.prepared.manifest import FileRecord, Manifest, Table, of_table
from lorarec.data.prepared.shards import check_files, write_shard
from lorarec.data.splits import SplitRecord
from lorarec.errors import ArtifactError

Array = np.ndarray[Any, Any]


def is_kept(split: SplitRecord | None) -> bool:
    """Whether later rows leave the parts of earlier ones alone, so that counts add up."""
    return split is not None and split.used in ("time", "column") and not split.refines


def write_presence(folder: Path, number: int, parts: Mapping[str, Part]) -> list[FileRecord]:
    """Write the flags of each part: a column a part of eight flags a byte, users before items."""
    if not parts:
        return []
    flags = {
        name: np.packbits(np.concatenate([part.seen["user"], part.seen["item"]]))
        for name, part in parts.items()
    }
    return [write_shard(folder, "presence", f"presence/{number:06d}.parquet", pl.DataFrame(flags))]


def read_presence(
    folder: Path, manifest: Manifest, sizes: Mapping[Table, int]
) -> dict[str, Part] | None:
    """The parts of the newest generation, with room for ids that came since.

    Args:
        folder: Of the data set.
        manifest: Up to that generation.
        sizes: Ids of each vocabulary now.

    Returns:
        None where nothing is kept, or not as it was written.
    """
    last = manifest.generations[-1]
    records = of_table(last.files, "presence")
    if not records or last.split is None:
        return None
    try:
        check_files(folder, records)
    except ArtifactError:
        return None
    packed = pl.read_parquet(folder / records[0].name, glob=False)
    users, items = (sum(file.rows for file in manifest.files(t)) for t in ("users", "items"))
    return {
        name: _part(packed[name].to_numpy(), (users, items), counts, sizes)
        for name, counts in last.split.counts.items()
    }


def _part(
    packed: Array, ids: tuple[int, int], counts: PartCounts, sizes: Mapping[Table, int]
) -> Part:
    users, items = ids
    flags = np.unpackbits(packed, count=users + items)
    part = Part(sizes["users"], sizes["items"])
    part.rows = counts.rows
    part.times = [moment for moment in (counts.first, counts.last) if moment is not None]
    part.seen["user"][:users] = flags[:users]
    part.seen["item"][:items] = flags[users:]
    return part
