"""The adapter that an argument names, with the record beside it and the base it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lorarec.errors import AdapterMismatchError, NotFoundError, did_you_mean
from lorarec.jobs.choose import Chosen, base_with_digest, choose_base
from lorarec.jobs.listener import Listener
from lorarec.lora.adapter import Adapter, AdapterInfo, load_adapter
from lorarec.models.artefact import BaseInfo
from lorarec.record import load_record
from lorarec.storage import bytes_of
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished, newest_adapter, newest_base, resolve
from lorarec.tracking.store import Store

ADAPTER_KINDS = ("adapt", "full", "sum", "truncate", "quantize", "peft-import")
"""Runs that have an adapter."""
_URI = re.compile(r"(runs|models|file):/.*|[0-9a-f]{32}")


@dataclass(frozen=True)
class Named:
    """An adapter on disk."""

    folder: Path
    run: RunInfo | None
    """None of a folder that no run made."""
    info: AdapterInfo

    @property
    def name(self) -> str:
        """What names it again: its run, or its folder."""
        return self.run.uri if self.run else str(self.folder)

    @property
    def stored(self) -> int:
        """Bytes on disk."""
        return bytes_of(self.folder)


def find_adapter(store: Store, text: str, base: str | None, listen: Listener) -> Named:
    """The adapter that `text` names; its own base need not be there.

    Args:
        store: Where runs are looked up.
        text: `runs:/ID`, a run's id, `models:/NAME@ALIAS`, a folder with an adapter; or a domain,
            which stands for its newest trained adapter on the base.
        base: URI of the base that a domain is looked up on; None is the newest.
        listen: Takes words.

    Raises:
        NotFoundError: There is none.
        ArtifactError: It is there and broken.
    """
    uri = text
    if not is_named(text):
        info = newest_of(store, text, base)
        when = info.started.astimezone()
        listen.say(f"Adapter: {info.uri} ({info.name}, {when:%Y-%m-%d %H:%M}), of {text}.")
        uri = info.uri
    folder, run = resolve(store, uri, "adapter")
    return Named(folder, run, load_record(folder / "adapter.json", AdapterInfo))


def base_of(store: Store, named: Named, base: str | None, listen: Listener) -> Chosen:
    """The base of an adapter: the one that is named, or the store's with the digest it asks for.

    Raises:
        NotFoundError: The store has none.
        ArtifactError: It is there and broken.
    """
    if base is None:
        base = base_with_digest(store, named.info.base_digest)
        if base is None:
            raise NotFoundError(
                f"The base of {named.name} with digest {named.info.base_digest} is not in "
                f"{store.shown}. Expected it there; name its folder or URI: --base URI"
            )
    return choose_base(store, base, listen)


def load_all(named: list[Named], chosen: Chosen) -> list[Adapter]:
    """Adapters of one base, checked.

    Raises:
        AdapterMismatchError: One is of another base; both digests are named.
        ArtifactError: One is broken.
    """
    adapters = []
    for each in named:
        if each.info.base_digest != chosen.base.digest:
            raise AdapterMismatchError(
                f"The adapter {each.name} is of the base with digest {each.info.base_digest}, and "
                f"the base here has digest {chosen.base.digest}. Expected adapters of one base; "
                f"see which there are: lorarec adapters list --domain {each.info.domain}"
            )
        adapters.append(load_adapter(each.folder, chosen.base))
    return adapters


def base_digest(store: Store, uri: str) -> str:
    """The digest of a base by its URI, without its weights being read."""
    folder, _ = resolve(store, uri, "base")
    return load_record(folder / "base.json", BaseInfo).digest


def newest_of(store: Store, domain: str, base: str | None) -> RunInfo:
    """The newest trained adapter of a domain on a base, by its URI; None is the newest base.

    Raises:
        NotFoundError: There is none.
    """
    on = newest_base(store) if base is None else None
    digest = base_digest(store, base) if base else on.tag("base_digest") if on else None
    found = newest_adapter(store, domain=domain, base_digest=digest) if digest else None
    if found is None:
        there = {info.domain for info in finished(store, ["adapt"], base_digest=digest)}
        known = did_you_mean(domain, [name for name in there if name])
        named = f"the base {base or (on.uri if on else '')}".rstrip()
        raise NotFoundError(
            f"There is no adapter {domain!r}: no run, no folder with an adapter.json, and no "
            f"domain with an adapter on {named}.{known} See: lorarec adapters list"
        )
    return found


def is_named(text: str) -> bool:
    """Whether a text names a run, a registered model or a folder with an adapter; else a domain."""
    return bool(_URI.fullmatch(text)) or _is_adapter(Path(text).expanduser())


def _is_adapter(path: Path) -> bool:
    return any((place / "adapter.json").is_file() for place in (path, path / "adapter"))
