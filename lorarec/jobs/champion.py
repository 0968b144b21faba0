"""The champion of a domain: back to an earlier one, and what has happened so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lorarec.errors import LorarecError, NotFoundError, did_you_mean
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import base_of, find_adapter, load_all
from lorarec.tracking.champions import ROLLBACK, Event, Reign, deciding, move, reign
from lorarec.tracking.model_names import model_name
from lorarec.tracking.store import Store
from lorarec.tracking.versions import Version, find_version, registered_domains, versions

BARE_BASE = "base"
"""`--to base`: no champion, so that the bare base serves."""


@dataclass(frozen=True)
class RolledBack:
    """A champion that was taken back."""

    domain: str
    before: int | None
    """The version that served; None was the bare base."""
    version: int | None
    """The version that serves now; None is the bare base."""
    reason: str


@dataclass(frozen=True)
class Entry:
    """One thing that happened to a domain's versions."""

    at: datetime | None
    what: str
    """`promote`, `force`, `rollback` or `by hand`; `refused` or `registered` of a version that
    never served; `not carried out` of a move that was broken off or overtaken."""
    version: int | None
    """None is the bare base."""
    by: str
    reason: str


@dataclass(frozen=True)
class History:
    """All versions of a domain and what happened to them, the newest first."""

    reign: Reign
    entries: list[Entry]
    versions: dict[int, Version]

    def verdict(self, version: int) -> Mapping[str, Any] | None:
        """What the gate said of a version when it was last asked; None where it never was."""
        text = self.versions[version].tag("verdict") if version in self.versions else None
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        return found


def rollback(
    store: Store,
    domain: str,
    to: str | None = None,
    reason: str = "",
    listen: Listener = SILENT,
) -> RolledBack:
    """Make an earlier champion the champion again: the alias moves last, or not at all.

    Args:
        store: Opened to write.
        domain: Its name.
        to: Number of a version that was champion before, or `base`; None is the champion before
            the one that serves, as a stack: what was rolled back from is not gone back to.
        reason: Kept with the move.
        listen: Takes words.

    Raises:
        NotFoundError: Nothing is registered, or there is no such earlier champion.
        ArtifactError: What would serve again is broken.
        ChampionMovedError: Another process moved the champion meanwhile.
    """
    with deciding(store):
        now = _known(store, domain)
        target = _target(store, now, to, listen)
        if target.version is not None:
            _check_loads(store, domain, target.version)
        move(store, now, target.version, ROLLBACK, reason=reason, below=target.below)
    return RolledBack(domain, now.version, target.version, reason)


def history(store: Store, domain: str) -> History:
    """What has happened to a domain's versions, the newest first.

    Raises:
        NotFoundError: Nothing is registered of this domain.
    """
    now = _known(store, domain)
    known = {version.number: version for version in versions(store, model_name(domain))}
    placed, newer = [], datetime.now(tz=UTC)
    for event in now.past:  # one that nobody dated stands right before the next
        entry = _entry(event, event.how)
        newer = entry.at or newer
        placed.append((newer, entry))
    served = {event.version for event in now.past}
    others = [_entry(event, "not carried out") for event in now.not_carried_out]
    others += [
        Entry(version.registered, _fate(version), version.number, "", "")
        for version in known.values()
        if version.number not in served
    ]
    placed += [(entry.at or newer, entry) for entry in others]
    placed.sort(key=lambda pair: pair[0], reverse=True)
    return History(now, [entry for _, entry in placed], known)


def _known(store: Store, domain: str) -> Reign:
    found = reign(store, domain)
    if not found.events and found.version is None and not versions(store, model_name(domain)):
        near = did_you_mean(domain, registered_domains(store))
        raise NotFoundError(
            f"No adapter of {domain!r} is registered in {store.shown}.{near} Expected one; begin "
            f"with: lorarec promote --domain {domain}"
        )
    return found


def _target(store: Store, now: Reign, to: str | None, listen: Listener) -> Event:
    """The earlier move that is gone back to."""
    if now.version is None and to is None and not now.stack[1:]:
        raise NotFoundError(
            f"The bare base serves {now.domain!r} and nothing did before it. Expected an earlier "
            f"champion. See: lorarec history --domain {now.domain}"
        )
    if to == BARE_BASE:
        if now.version is None:
            raise NotFoundError(f"The bare base serves {now.domain!r} already. Nothing was done.")
        return Event(BARE_BASE, None, ROLLBACK, below=now.current.id if now.current else None)
    if to is not None:
        for event in now.past[1:]:
            if str(event.version) == to and event.version != now.version and to.isdigit():
                return event
        served = sorted({str(e.version) for e in now.past[1:] if e.version} - {str(now.version)})
        raise NotFoundError(
            f"Version {to} of {now.domain!r} was not champion before. Expected one of "
            f"{', '.join(served) or 'none'}, or base. A version that never served goes through the "
            f"gate: lorarec promote --domain {now.domain} --adapter "
            f"models:/{model_name(now.domain)}/{to}"
        )
    for event in now.stack[1:]:
        if event.version is None or _is_there(store, now.domain, event.version):
            return event
        listen.say(f"Version {event.version} was deleted; going back one more.")
    raise NotFoundError(
        f"There was no champion of {now.domain!r} before "
        f"{f'version {now.version}' if now.version else 'the one that was deleted'}. Expected an "
        f"earlier one. To let the bare base serve: lorarec rollback --domain {now.domain} --to base"
    )


def _is_there(store: Store, domain: str, number: int) -> bool:
    try:
        find_version(store, f"models:/{model_name(domain)}/{number}")
    except NotFoundError:
        return False
    return True


def _check_loads(store: Store, domain: str, number: int) -> None:
    uri = f"models:/{model_name(domain)}/{number}"
    try:
        named = find_adapter(store, uri, None, SILENT)
        load_all([named], base_of(store, named, None, SILENT))
    except LorarecError as error:
        raise type(error)(
            f"{uri} cannot serve again; the champion stays as it is. {error} Another one: lorarec "
            f"rollback --domain {domain} --to VERSION, see: lorarec history --domain {domain}"
        ) from error


def _entry(event: Event, what: str) -> Entry:
    at = datetime.fromisoformat(event.at) if event.at else None
    return Entry(at, what, event.version, event.by, event.reason)


def _fate(version: Version) -> str:
    return "registered" if version.tag("verdict") is None else "refused"
