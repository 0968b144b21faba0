"""One index for all domains of a base: built of its adapters, opened for one domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import DataError
from lorarec.jobs.augment import augmented_index, domain_factors
from lorarec.jobs.choose import Chosen, choose_adapter, choose_base
from lorarec.jobs.index_domain import open_index, refuse_another
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommend import Ready
from lorarec.lora.adapter import Adapter
from lorarec.models.artefact import library_versions
from lorarec.retrieval.artefact import StoredIndex
from lorarec.retrieval.augmented_artefact import (
    RECORD,
    AugmentedInfo,
    NewDomain,
    StoredDomain,
    load_domain,
    save_augmented,
)
from lorarec.storage import atomic_dir
from lorarec.tracking.store import Store


def build_all(
    store: Store,
    out: Path,
    base: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> AugmentedInfo:
    """Write one index for every domain of the logs: its newest adapter, or the bare base.

    Items of a catalogue that neither base nor adapter knows are left out and counted; a domain
    without any other is passed over.

    Args:
        store: Where base and adapters are.
        out: A folder that is new or empty.
        base: URI; None is the newest.
        paths: Other logs than the base's, by choice.
        listen: Takes words.

    Raises:
        AdapterMismatchError: The base has towers, whose items no sum of factors can move.
        DataError: No domain has an item that is known.
        StoreError: The folder is not empty, or the disk refused.
    """
    found = choose_base(store, base, listen)
    chosen = found.base
    index = augmented_index(chosen)
    frame, _ = chosen.info.data.read_again(chosen.info.split, paths, learns=False)
    train = frame.filter(pl.col("split") == "train")
    domains: list[NewDomain] = []
    for name in train["domain"].unique().sort():
        adapter = choose_adapter(store, None, chosen, name, listen)
        known = (adapter or chosen).items
        rows = train if adapter is None else _train(found, adapter, train, paths)
        catalogue = rows.filter(pl.col("domain") == name)["item_id"].unique().sort()
        there = catalogue.filter(pl.Series(known.rows(catalogue, missing="mark") >= 0))
        if adapter is None:
            listen.say(f"Adapter: none of {name} on this base yet; the bare base is used.")
        if left := len(catalogue) - len(there):
            listen.say(f"{name}: {left:,} of {len(catalogue):,} items have no vector; left out.")
        if not len(there):
            listen.say(f"{name} is passed over: base and adapter know none of its items.")
            continue
        factors = domain_factors(chosen, adapter, there)
        digest = adapter.info.digest if adapter else None
        domains.append(NewDomain(name, digest, Vocabulary(there), factors))
    if not domains:
        raise DataError(
            "No domain of the logs has an item that the base knows. Expected at least one; are "
            "these logs of this base? Name it with --base."
        )
    with atomic_dir(out) as temporary:
        return save_augmented(index, domains, chosen.digest, library_versions(), temporary)


def _train(
    chosen: Chosen, adapter: Adapter, train: pl.DataFrame, paths: Sequence[Path]
) -> pl.DataFrame:
    """The train rows that `recommend` has of an adapter's domain: of one that went on, more."""
    own = chosen.beside(adapter.info).base.info
    if (own.split, own.data) == (chosen.base.info.split, chosen.base.info.data):
        return train
    domain = adapter.info.domain
    frame, _ = own.data.read_again(own.split, paths, learns=False, domain=domain)
    return frame.filter(pl.col("split") == "train")


def open_any(folder: Path, ready: Ready) -> StoredIndex | StoredDomain:
    """An index of this domain, base and adapter: its own, or that of all domains.

    Raises:
        NotFoundError: The folder is not there, or the index has not the domain.
        AdapterMismatchError: It is of another domain, base or adapter; both are named.
        ArtifactError: It is broken.
    """
    if not (folder / RECORD).is_file():
        return open_index(folder, ready)
    stored = load_domain(folder, ready.arena.domain)
    refuse_another(
        folder, ready, {"base": stored.base_digest, "adapter": stored.entry.adapter_digest}
    )
    return stored
