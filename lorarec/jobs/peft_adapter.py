"""Adapters to PEFT and back: a folder in its format, and a run with an adapter of such a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import AdapterMismatchError, ConfigError, NotFoundError
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.derive_adapter import MADE, Asked, Derived
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_of, find_adapter, load_all
from lorarec.jobs.record_made import record_made
from lorarec.jobs.validated import validated
from lorarec.lora.peft_export import PeftExport, Rest, peft_export, save_peft
from lorarec.lora.peft_import import NO_NAMES, from_peft
from lorarec.lora.peft_reading import PeftFolder, read_peft
from lorarec.lora.size import oversized
from lorarec.lora.state import TABLES
from lorarec.storage import atomic_dir, bytes_of
from lorarec.tracking.registry import newest_base
from lorarec.tracking.store import Store

KIND = "peft-import"
BASE = "base"
"""The arm that an imported adapter is compared with: the bare base."""


@dataclass(frozen=True)
class Exported:
    """What `export_peft` left behind."""

    named: Named
    export: PeftExport
    folder: Path
    stored: int
    """Bytes on disk."""


def export_peft(
    store: Store,
    text: str,
    out: Path,
    rest: Rest | None = None,
    base: str | None = None,
    listen: Listener = SILENT,
) -> Exported:
    """Write an adapter in PEFT's format.

    Args:
        store: Where adapter and base are looked up; nothing is recorded there.
        text: Which adapter; see `find_adapter`.
        out: A new or empty folder; it is there whole or not at all.
        rest: What becomes of that which PEFT has no place for; see `peft_export`.
        base: URI of the base; None is the adapter's own.
        listen: Takes words.

    Raises:
        NotFoundError: There is no such adapter, or its base is not in the store.
        AdapterMismatchError: It is of another base.
        ConfigError: PEFT cannot hold it, or not all of it and `rest` is None.
        StoreError: The folder holds something, or the disk refused.
    """
    named = find_adapter(store, text, base, listen)
    chosen = base_of(store, named, base, listen)
    (adapter,) = load_all([named], chosen)
    export = peft_export(chosen.base, adapter, rest)
    with atomic_dir(out) as folder:
        save_peft(export, folder)
    stored = bytes_of(out)
    return Exported(named, export, out, stored)


def import_peft(
    settings: Settings,
    store: Store,
    folder: Path,
    domain: str | None = None,
    asked: Asked | None = None,
    names: Mapping[str, str] = NO_NAMES,
    listen: Listener = SILENT,
) -> Derived:
    """Make an adapter of a folder in PEFT's format, measure it beside the base, and record it.

    Args:
        settings: Its section `evaluate` says how it is measured.
        store: Where the base is and the run goes.
        folder: As PEFT or `export_peft` wrote it.
        domain: The adapter's; None is the one that was exported.
        asked: Base and logs.
        names: Target of the base → module in the folder, where they are called otherwise.
        listen: Takes words.

    Raises:
        ArtifactError: The folder is broken, or is of more than LoRA.
        ConfigError: Domain or base are not named and not known, or a module is none of the base's.
        AdapterMismatchError: It is of another base, or of other shapes.
        NotFoundError: There is no such base, or the logs do not have the domain.
    """
    asked = asked or Asked()
    found = read_peft(folder)
    domain = domain or (found.note.domain if found.note else None)
    if domain is None:
        raise ConfigError(
            f"{folder} does not say which domain it is of: PEFT wrote it, and no lorarec. Expected "
            f"a name: lorarec adapters import {folder} --domain D --base URI"
        )
    chosen = _base(store, found, asked.base, listen)
    made = from_peft(chosen.base, found, domain, names)
    if found.note is None:
        listen.say(
            f"Warning: {folder} names no base and no ids. Its rows are taken for those of this "
            f"base, as the shapes allow, and whether held-out rows trained it is not known: what "
            f"is measured may flatter it."
        )
    elif found.note.left_out:
        left = ", ".join(f"{name} ({n:,})" for name, n in found.note.left_out.items())
        listen.say(f"Left out when it was exported: {left}.")
    own = {name: len(getattr(made.model, name).rows) for name in TABLES}
    for warning in oversized(made.info.config, chosen.base.model, own):
        listen.say(f"Warning: {warning}")
    measured = validated(
        settings, domain, chosen, {BASE: None, MADE: made}, asked.paths, listen, must=True
    )
    before = None
    if measured is not None:
        metrics = {f"evaluated_{k}": value for k, value in measured.metrics(MADE).items()}
        made = replace(made, info=made.info.model_copy(update={"metrics": metrics}))
        before = {f"{BASE}_{k}": value for k, value in measured.metrics(BASE).items()}
    params: dict[str, object] = {"source": str(folder)}
    leak = None if found.note else "unknown"
    run, stored = record_made(
        settings, store, KIND, made, chosen, params, measured=before, leak=leak
    )
    return Derived(made, [], BASE, measured, False, run, stored)


def _base(store: Store, found: PeftFolder, base: str | None, listen: Listener) -> Chosen:
    note = found.note
    if base is None and note is None:
        raise ConfigError(
            f"{found.path} does not say which base it is of, and PEFT puts an adapter on any of "
            f"the same shapes. Expected its name: --base URI; lorarec runs shows which there are."
        )
    if base is None and note is not None:
        there = newest_base(store, base_digest=note.base_digest)
        if there is None:
            raise NotFoundError(
                f"The base of {found.path} with digest {note.base_digest} is not in {store.shown}. "
                f"Expected it there; name its folder or URI: --base URI"
            )
        base = there.uri
    chosen = choose_base(store, base, listen)
    if note is not None and note.base_digest != chosen.base.digest:
        raise AdapterMismatchError(
            f"{found.path} is of the base with digest {note.base_digest}, and the base here has "
            f"digest {chosen.base.digest}. Expected its own; leave --base out to find it."
        )
    return chosen
