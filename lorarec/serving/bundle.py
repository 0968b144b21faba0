"""Domains as a folder that serves without store and logs: a base, adapters, rows, each checked.

bundle.json                which domains there are, and the digests of what lies beside it
base/, base-1/ ...         bases, one for each digest
domains/0/ adapter/        of a domain: its adapter, where it has one,
           rows.parquet    and the rows that say what it may recommend and what users have had
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lorarec.data.tables import write_parquet
from lorarec.errors import ArtifactError, DataError, NotFoundError
from lorarec.jobs.choose import Chosen
from lorarec.jobs.recommend import domain_rows, ready_of
from lorarec.lora.adapter import AdapterInfo, load_adapter
from lorarec.models.artefact import load_base, save_base
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.serving.snapshot import Snapshot
from lorarec.serving.store import BARE, StoreSource
from lorarec.storage import sha256_file
from lorarec.tracking.registry import resolve

RECORD = "bundle.json"
COLUMNS = ("user_id", "item_id", "domain", "split")


class BundledDomain(Record):
    """One domain of a bundle."""

    folder: str
    """Under the bundle."""
    base: str
    """Folder of its base."""
    base_digest: str
    adapter_digest: str | None
    """None of the bare base."""
    rows_digest: str
    """SHA-256 of rows.parquet."""


class BundleInfo(Record):
    """All that a bundle says of itself."""

    format_version: int = FORMAT
    domains: dict[str, BundledDomain]


def write_bundle(source: StoreSource, folder: Path) -> BundleInfo:
    """Write what serves every domain now into a folder; its maker renames it into place.

    A domain without train rows is left out: it has nothing to recommend.

    Args:
        source: Of the store.
        folder: Is there and empty.

    Raises:
        NotFoundError: No domain is left.
        LorarecError: A domain cannot be loaded.
    """
    bases: dict[str, str] = {}
    domains: dict[str, BundledDomain] = {}
    for domain in source.domains():
        version = source.version(domain)
        try:
            snapshot = source.load(domain, version)
        except (NotFoundError, DataError):
            if version == BARE:
                continue
            raise
        digest = snapshot.base_digest
        if digest not in bases:
            bases[digest] = f"base-{len(bases)}"
            (folder / bases[digest]).mkdir()
            save_base(snapshot.base, folder / bases[digest])
        own = Path("domains") / str(len(domains))
        (folder / own).mkdir(parents=True)
        if version != BARE:
            shutil.copytree(resolve(source.store, version, "adapter")[0], folder / own / "adapter")
        rows = domain_rows(snapshot.ready.base, domain, source.paths)
        rows = rows.filter(pl.col("domain") == domain).select(COLUMNS)
        write_parquet(rows, folder / own / "rows.parquet")
        domains[domain] = BundledDomain(
            folder=own.as_posix(),
            base=bases[digest],
            base_digest=digest,
            adapter_digest=snapshot.adapter_digest,
            rows_digest=sha256_file(folder / own / "rows.parquet"),
        )
    if not domains:
        raise NotFoundError("No domain has train rows. Expected at least one to serve.")
    info = BundleInfo(domains=domains)
    save_record(folder / RECORD, info)
    return info


class BundleSource:
    """Snapshots out of a bundle; nothing in it ever moves.

    Args:
        folder: Of `write_bundle`.

    Raises:
        ArtifactError: It is broken or edited.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = load_record(folder / RECORD, BundleInfo)
        for each in self.info.domains.values():
            for path in (each.folder, each.base):
                if Path(path).is_absolute() or ".." in Path(path).parts:
                    raise ArtifactError(
                        f"{folder / RECORD} names {path!r}, which leads out of the bundle. It was "
                        f"edited; get the bundle again."
                    )
        named = {each.base: each.base_digest for each in self.info.domains.values()}
        self._bases = {name: load_base(folder / name) for name in named}
        for name, base in self._bases.items():
            if base.digest != named[name]:
                raise self._another(name, base.digest, named[name])

    def domains(self) -> Sequence[str]:
        return sorted(self.info.domains)

    def version(self, domain: str) -> str:
        return self.info.domains[domain].adapter_digest or BARE

    def load(self, domain: str, version: str) -> Snapshot:
        own = self.info.domains[domain]
        shared = base = self._bases[own.base]
        adapter = None
        folder = self.folder / own.folder
        if own.adapter_digest is not None:
            found = load_record(folder / "adapter" / "adapter.json", AdapterInfo)
            if found.digest != own.adapter_digest:
                raise self._another(f"{own.folder}/adapter", found.digest, own.adapter_digest)
            adapter = load_adapter(folder / "adapter", shared)
            base = Chosen(shared, None).at(adapter.info.split).base
        rows = folder / "rows.parquet"
        if not rows.is_file() or (digest := sha256_file(rows)) != own.rows_digest:
            digest = digest if rows.is_file() else "none"
            raise self._another(f"{own.folder}/rows.parquet", digest, own.rows_digest)
        return Snapshot(ready_of(pl.read_parquet(rows), domain, base, adapter), version, shared)

    def _another(self, name: str, found: str, wanted: str) -> ArtifactError:
        return ArtifactError(
            f"{self.folder / name} has digest {found[:12]}, {RECORD} says {wanted[:12]}. It was "
            f"edited or replaced; get the bundle again."
        )
