"""Which version of a domain serves: the alias `champion`, how it moves, and what it was before.

Every move is written down first, as a tag `lorarec.event.<id>` of the registered model, and then
the alias is moved, which is one write of MLflow's: killed before it, nothing has happened. A
written move names the one before it, so a move that was never carried out, or that another
overtook, is known by being in nobody's past.

Rollback goes down a stack: a promotion lies on the champion before, and rolling back takes it off.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lorarec.errors import PassingError
from lorarec.tracking.database import database_path
from lorarec.tracking.model_names import BASE_MODEL, model_name
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import TAG
from lorarec.tracking.versions import CHALLENGER, CHAMPION, registered_model

if TYPE_CHECKING:
    from lorarec.tracking.store import Store

EVENT = f"{TAG}event."
SECONDS_TO_WAIT = 60.0
PROMOTE, FORCE, ROLLBACK, BY_HAND = "promote", "force", "rollback", "by hand"
"""How a champion came to be; `by hand` is an alias that something else has moved."""


class ChampionMovedError(PassingError):
    """The champion is no longer the one that the decision was about."""


@dataclass(frozen=True)
class Event:
    """One move of the champion.

    Attributes:
        id: Of this move.
        version: That serves from then on; None is the bare base.
        how: `promote`, `force`, `rollback` or `by hand`.
        at: ISO 8601, UTC; empty where nobody wrote it down.
        by: Who; empty where that is not known.
        reason: What was given as a reason; empty where none was.
        after: Id of the move before it.
        below: Id of the move that a rollback goes back to.
    """

    id: str
    version: int | None
    how: str
    at: str = ""
    by: str = ""
    reason: str = ""
    after: str | None = None
    below: str | None = None


@dataclass(frozen=True)
class Reign:
    """The champion of a domain and how it came to be, read at one moment.

    Attributes:
        domain: Its name.
        version: That serves; None is the bare base.
        challenger: The version that the alias `challenger` points at.
        current: The move that made it so; None where there was none yet.
        events: All that were written down, by id.
    """

    domain: str
    version: int | None
    challenger: int | None
    current: Event | None
    events: dict[str, Event]

    @property
    def past(self) -> list[Event]:
        """The moves that happened, the current one first."""
        return self._chain("after")

    @property
    def stack(self) -> list[Event]:
        """The moves that rollbacks go back to, one after the other; the current one first."""
        return self._chain("below")

    @property
    def not_carried_out(self) -> list[Event]:
        """Moves that were broken off before the alias moved, or that another overtook."""
        happened = {event.id for event in self.past}
        return [event for event in self.events.values() if event.id not in happened]

    def _chain(self, link: str) -> list[Event]:
        found: list[Event] = []
        event = self.current
        while event is not None and event not in found:
            found.append(event)
            event = self.events.get(getattr(event, link) or "")
        return found


def reign(store: Store, domain: str) -> Reign:
    """The champion of a domain and its past; without a champion where nothing is registered.

    Raises:
        StoreError: The store refused.
    """
    model = registered_model(store, model_name(domain))
    if model is None:
        return Reign(domain, None, None, None, {})
    events = {}
    for key, value in model.tags.items():
        if key.startswith(EVENT):
            with suppress(ValueError, TypeError):  # one that was edited by hand is none of ours
                event = Event(**json.loads(value))
                events[event.id] = event
    version, challenger = (
        int(model.aliases[alias]) if alias in model.aliases else None
        for alias in (CHAMPION, CHALLENGER)
    )
    return Reign(domain, version, challenger, _current(version, events), events)


def _current(version: int | None, events: dict[str, Event]) -> Event | None:
    """The last move to the version that serves; or one by hand, after the last that is written."""

    def depth(event: Event | None) -> int:
        ids: set[str] = set()
        while event is not None and event.id not in ids:
            ids.add(event.id)
            event = events.get(event.after or "")
        return len(ids)

    ordered = sorted(events.values(), key=lambda event: (depth(event), event.at, event.id))
    fitting = [event for event in ordered if event.version == version]
    if fitting:
        return fitting[-1]
    last = ordered[-1].id if ordered else None
    if version is None and last is None:
        return None
    return Event(BY_HAND, version, BY_HAND, after=last, below=last)


@contextmanager
def deciding(store: Store, seconds: float = SECONDS_TO_WAIT) -> Iterator[None]:
    """One process at a time, of those that share a store in an SQLite file, moves a champion.

    A server has no such lock: there `move` compares before and after.

    Raises:
        StoreError: Another process held it all the time.
    """
    database = database_path(store.uri)
    if database is None:
        yield
        return
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        with refusals(store.uri):
            place = database.with_name(f".{database.name}.registry")
            lock = stack.enter_context(open(place, "w"))
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise PassingError(
                        f"Another process has been moving a champion of {store.shown} for "
                        f"{seconds:.0f} s. Expected it to be done in less. Wait for it to end, or "
                        f"stop it, and run the command again."
                    ) from error
                time.sleep(0.05)
        yield


def move(
    store: Store,
    before: Reign,
    version: int | None,
    how: str,
    *,
    reason: str = "",
    below: str | None = None,
) -> Event:
    """Make a version the champion, unless another process has made one since `before` was read.

    Call it within `deciding`. On a server, where that locks nothing, two moves within the same few
    milliseconds can both be written; then the later one holds, the earlier one is told so as long
    as it has not returned, and in any case its event is left as one that was not carried out.

    Args:
        store: Opened to write.
        before: What the decision was about.
        version: The new champion; None is the bare base.
        how: `promote`, `force` or `rollback`.
        reason: As given.
        below: Of a rollback, the move that the next one goes back to; a promotion lies on what
            was the champion before it.

    Raises:
        ChampionMovedError: The champion is another one by now.
        StoreError: The store refused.
    """
    name = model_name(before.domain)
    now = check_unmoved(store, before)
    current = now.current.id if now.current else None
    event = Event(
        id=f"{datetime.now(tz=UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}",
        version=version,
        how=how,
        at=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        by=_user(),
        reason=reason,
        after=current,
        below=below if how == ROLLBACK else current,
    )
    with refusals(store.uri):
        if now.current is not None and now.current.how == BY_HAND:
            # Written down now, as a move that others can name as the one before.
            found = replace(now.current, id=f"{event.id}-before")
            below = found.id if event.below == BY_HAND else event.below
            event = replace(event, after=found.id, below=below)
            store.client.set_registered_model_tag(name, EVENT + found.id, _text(found))
        store.client.set_registered_model_tag(name, EVENT + event.id, _text(event))
        if version is not None and now.challenger == version:
            store.client.delete_registered_model_alias(name, CHALLENGER)
        if version is None:
            store.client.delete_registered_model_alias(name, CHAMPION)
        else:
            store.client.set_registered_model_alias(name, CHAMPION, str(version))
    after = reign(store, before.domain)
    if after.version != version:
        raise _moved(before, after.version)
    return event


def check_unmoved(store: Store, before: Reign) -> Reign:
    """The champion as it is now, which is as it was.

    Raises:
        ChampionMovedError: It is another one, or was in between.
        StoreError: The store refused.
    """
    now = reign(store, before.domain)
    known, current = (each.current.id if each.current else None for each in (before, now))
    if known != current or before.version != now.version:
        raise _moved(before, now.version)
    return now


def advance_base(store: Store, number: int) -> None:
    """Make a version of the base's model its champion, unless a later one is: never back.

    Raises:
        StoreError: The store refused.
    """
    model = registered_model(store, BASE_MODEL)
    now = model.aliases.get(CHAMPION) if model else None
    if now is None or int(now) < number:
        with refusals(store.uri):
            store.client.set_registered_model_alias(BASE_MODEL, CHAMPION, str(number))


def set_challenger(store: Store, domain: str, version: int) -> None:
    """Point the alias `challenger` at a version that does not serve.

    Raises:
        StoreError: The store refused.
    """
    with refusals(store.uri):
        store.client.set_registered_model_alias(model_name(domain), CHALLENGER, str(version))


def _moved(before: Reign, version: int | None) -> ChampionMovedError:
    shown = [f"version {each}" if each else "the bare base" for each in (before.version, version)]
    was = f"was {shown[0]} when this was decided, and is {shown[1]} now"
    if before.version == version:
        was = f"is {shown[0]} as when this was decided, and was another one in between"
    return ChampionMovedError(
        f"The champion of {before.domain!r} {was}: another process moved it meanwhile. Expected it "
        f"as it was. See lorarec history --domain {before.domain}, then run the command again."
    )


def _text(event: Event) -> str:
    return json.dumps(asdict(event), ensure_ascii=False)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
