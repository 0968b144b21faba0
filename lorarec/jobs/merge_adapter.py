"""An adapter merged into a copy of its base, as a folder that stands for a base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_of, find_adapter, load_all
from lorarec.lora.merging import merged_base
from lorarec.models.artefact import Base, load_base, save_base
from lorarec.storage import atomic_dir, bytes_of
from lorarec.tracking.store import Store


@dataclass(frozen=True)
class MergedInto:
    """What `merge_adapter` left behind."""

    named: Named
    base: Base
    """As it was read back."""
    folder: Path
    stored: int
    """Bytes on disk."""


def merge_adapter(
    store: Store, text: str, out: Path, base: str | None = None, listen: Listener = SILENT
) -> MergedInto:
    """Write the base with an adapter's deltas in it as a new base.

    Args:
        store: Where adapter and base are looked up; nothing is recorded there.
        text: Which adapter; see `find_adapter`.
        out: A new or empty folder; it is there whole or not at all.
        base: URI of the base; None is the adapter's own.
        listen: Takes words.

    Raises:
        NotFoundError: There is no such adapter, or its base is not in the store.
        AdapterMismatchError: It is of another base.
        StoreError: The folder holds something, or the disk refused.
    """
    named = find_adapter(store, text, base, listen)
    chosen = base_of(store, named, base, listen)
    (adapter,) = load_all([named], chosen)
    whole = merged_base(chosen.beside(adapter.info).base, adapter)
    with atomic_dir(out) as folder:
        save_base(whole, folder)
    stored = bytes_of(out)
    return MergedInto(named, load_base(out), out, stored)
