"""Build, change and open the index of a domain: bound to the base and adapter of its vectors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError, DataError, NotFoundError
from lorarec.jobs.id_files import read_id_file, refuse_unknown
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommend import Ready
from lorarec.models.artefact import library_versions
from lorarec.retrieval.approximate import ApproximateIndex
from lorarec.retrieval.artefact import (
    IndexInfo,
    IndexReport,
    StoredIndex,
    StoredKind,
    exact_kind,
    load_index,
    save_index,
)
from lorarec.retrieval.factory import AUTO, chosen_factory
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.recall import calibrate, measured
from lorarec.storage import atomic_dir

Array = np.ndarray[Any, Any]
MEASURED_USERS = 1000
"""At most so many users of the domain choose the effort, and so many others measure it."""


@dataclass(frozen=True)
class Changed:
    """An index that was written from another."""

    info: IndexInfo
    items: int
    """How many were added or removed."""
    rebuilt: bool


def build_index(
    ready: Ready, out: Path, factory: str = AUTO, target: float = 0.98, k: int = 20,
    listen: Listener = SILENT,
) -> IndexInfo:  # fmt: skip
    """Build an index over a domain's catalogue, measure it beside exact search, and write it.

    Args:
        ready: The domain and its model.
        out: A folder that is new or empty.
        factory: A FAISS factory string, `Flat` for exact search, or `auto`.
        target: Recall at k against exact search that its effort is chosen for.
        k: Cut-off of the recall.
        listen: Takes words.

    Raises:
        ConfigError: FAISS cannot build it, or the target is no share.
        StoreError: The folder is not empty, or the disk refused.
    """
    catalogue = ready.arena.catalogue
    vectors, bias, known = ready.scorer.item_vectors(catalogue.series)
    if missing := int((~known).sum()):
        listen.say(
            f"{missing:,} of {len(catalogue):,} items have no vector and get the domain's mean, as "
            f"everywhere; adapt again to learn them."
        )
    exact = ExactIndex(vectors, item_bias=bias)
    text = chosen_factory(len(exact), exact.dim, target) if factory == AUTO else factory
    if factory == AUTO:
        listen.say(f"Index: {text}, for {len(exact):,} items and recall {target:g}.")
    started = time.perf_counter()
    index: StoredKind = exact if exact_kind(text) else ApproximateIndex.over(exact.catalogue, text)
    seconds = time.perf_counter() - started
    report = _report(index, exact, ready, k, target, seconds, choose=True)
    if report.recall < target:
        listen.say(
            f"Recall is {report.recall:.4f}, below the {target:g} that was wanted, at the largest "
            f"effort that makes sense. Another --index may do better."
        )
    info = IndexInfo(
        domain=ready.arena.domain,
        factory=index.factory.text if isinstance(index, ApproximateIndex) else text,
        dim=exact.dim,
        items=len(exact),
        item_vocabulary="",
        base_digest=ready.base.digest,
        adapter_digest=ready.adapter.info.digest if ready.adapter else None,
        vectors_digest="",
        faiss_digest=None,
        report=report,
        versions=library_versions(),
    )
    return _written(StoredIndex(index, catalogue, info), out)


def add_items(
    folder: Path, ready: Ready, items: Path, out: Path, listen: Listener = SILENT
) -> Changed:
    """Write an index with more items, of vectors by the same model, and measure it again.

    Args:
        folder: The index.
        ready: Its domain and model.
        items: A file of ids; those that the index has already are passed over.
        out: A folder that is new or empty.
        listen: Takes words.

    Raises:
        AdapterMismatchError: The index is of another base, adapter or domain.
        NotFoundError: Some have no vector.
    """
    stored = open_index(folder, ready)
    ids = read_id_file(items, "item_id")
    refuse_unknown(items, ids, ready.scorer.items, "base and adapter")
    new = ids.filter(pl.Series(stored.items.rows(ids, missing="mark") < 0)).sort()
    if there := len(ids) - len(new):
        listen.say(f"{there:,} of {len(ids):,} items are in the index already.")
    if not len(new):
        raise DataError(f"{items} has no item that the index lacks. Expected at least one.")
    joined = Vocabulary(pl.concat([stored.items.series, new.alias("id")]).sort())
    index = stored.index
    vectors, bias, _ = ready.scorer.item_vectors(new)
    own = bias if index.catalogue.biased else None
    before, places = joined.rows(stored.items.series), joined.rows(new)
    if isinstance(index, ApproximateIndex):
        index.renumber(before)
        index.add(vectors, places, own)
    else:
        old = replace(index.catalogue, item_rows=before)
        added = type(old).of(vectors, places, own, old.metric)
        index = ExactIndex.over(old.joined(added))
    was = stored.info.report
    exact = ExactIndex.over(index.catalogue)
    report = _report(index, exact, ready, was.k, was.target, was.build_seconds, choose=False)
    info = stored.info.model_copy(update={"report": report})
    return Changed(_written(StoredIndex(index, joined, info), out), len(new), False)


def remove_items(folder: Path, items: Path, out: Path) -> Changed:
    """Write an index without some items; its report stays that of the index before.

    Args:
        folder: The index.
        items: A file of ids, all of them in the index.
        out: A folder that is new or empty.

    Raises:
        NotFoundError: Some are not in the index.
        DataError: Nothing would be left.
    """
    stored = load_index(folder)
    ids = read_id_file(items, "item_id")
    refuse_unknown(items, ids, stored.items, f"the index of {stored.info.domain}")
    rows = stored.items.rows(ids)
    if len(rows) == len(stored.items):
        raise DataError(f"{items} has all {len(rows):,} items of the index. Expected some to stay.")
    left, rebuilt = without_rows(stored, rows)
    return Changed(_written(left, out), len(rows), rebuilt)


def without_rows(stored: StoredIndex, rows: np.ndarray[Any, Any]) -> tuple[StoredIndex, bool]:
    """An index without some items; the one that is given is used up.

    Args:
        stored: What is left of it has its record.
        rows: int64 (m,), distinct: places of the items.

    Returns:
        What is left, and whether FAISS was built anew.
    """
    kept = np.setdiff1d(np.arange(len(stored.items)), rows)
    index, rebuilt = stored.index, False
    numbers = np.arange(len(kept), dtype=np.int64)
    if isinstance(index, ApproximateIndex):
        rebuilt = index.remove(rows)
        index.renumber(numbers)
    else:
        index = ExactIndex.over(replace(index.catalogue.take(kept), item_rows=numbers))
    return StoredIndex(index, Vocabulary(stored.items.take(kept)), stored.info), rebuilt


def open_index(folder: Path, ready: Ready) -> StoredIndex:
    """An index of this domain, base and adapter.

    Raises:
        NotFoundError: The folder is not there.
        AdapterMismatchError: It is of another domain, base or adapter; both are named.
        ArtifactError: It is broken.
    """
    if not folder.is_dir():
        raise NotFoundError(
            f"There is no index in {folder}. Expected a folder; make it: lorarec index build "
            f"--domain {ready.arena.domain} --out {folder}"
        )
    stored = load_index(folder)
    info = stored.info
    held = {"domain": info.domain, "base": info.base_digest, "adapter": info.adapter_digest}
    refuse_another(folder, ready, held)
    return stored


def refuse_another(folder: Path, ready: Ready, held: Mapping[str, str | None]) -> None:
    """Refuse an index that was made of another domain, base or adapter than was chosen.

    Args:
        folder: The index.
        ready: What was chosen.
        held: Of the index: the name of its domain, digests of base and adapter; None is none.

    Raises:
        AdapterMismatchError: They differ; both are named.
    """
    chosen = {
        "domain": ready.arena.domain,
        "base": ready.base.digest,
        "adapter": ready.adapter.info.digest if ready.adapter else None,
    }
    for what, found in held.items():
        if found != (expected := chosen[what]):
            raise AdapterMismatchError(
                f"The index in {folder} has vectors of the {what} {found or 'none'}, and the "
                f"{what} chosen is {expected or 'none'}. Expected the same: name it with "
                f"--{what}, or build the index again: lorarec index build --domain "
                f"{ready.arena.domain} --out DIR"
            )


def _report(
    index: StoredKind, exact: ExactIndex, ready: Ready, k: int, target: float, seconds: float,
    choose: bool,
) -> IndexReport:  # fmt: skip
    """Recall and speed on train users of the domain; the effort is chosen on others, if it is."""
    users = ready.arena.members.sample(
        min(len(ready.arena.members), 2 * MEASURED_USERS), shuffle=True, seed=0
    )
    vectors, _ = ready.scorer.user_vectors(users)
    half = len(users) // 2
    if choose and isinstance(index, ApproximateIndex):
        calibrate(index, exact, vectors[half:], k, target)
    found = measured(index, exact, vectors[: max(half, 1)], k)
    return IndexReport(
        items=len(index),
        users=found.users,
        k=k,
        target=target,
        recall=found.recall,
        queries_per_second=found.queries_per_second,
        exact_queries_per_second=found.exact_queries_per_second,
        build_seconds=seconds,
        index_bytes=index.index_bytes if isinstance(index, ApproximateIndex) else 0,
        vector_bytes=index.nbytes,
    )


def _written(stored: StoredIndex, out: Path) -> IndexInfo:
    with atomic_dir(out) as temporary:
        return save_index(stored, temporary)
