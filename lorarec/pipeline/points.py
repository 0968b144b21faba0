"""Moments at which a test kills a retraining: before and after each rename, write and alias move.

Nothing here does anything unless one of two variables is set:

LORAREC_PIPELINE_STOP_AT=NAME:N   the process kills itself (SIGKILL) at the Nth passing of a point;
                                  `any:N` at the Nth passing of whichever
LORAREC_PIPELINE_POINTS=FILE      the name of every point that is passed, a line each

Points are named `WHAT before` and `WHAT after`, written with a dash: `rename-before`,
`registry-after`, `alias-before`, `step-base-after`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from typing import Any

from lorarec.tracking.store import Store

STOP_AT, POINTS = "LORAREC_PIPELINE_STOP_AT", "LORAREC_PIPELINE_POINTS"
WRITES = {
    "create_run": "registry",
    "set_terminated": "registry",
    "create_registered_model": "registry",
    "create_model_version": "registry",
    "set_registered_model_tag": "registry",
    "set_model_version_tag": "registry",
    "set_registered_model_alias": "alias",
    "delete_registered_model_alias": "alias",
}
"""Calls of the store's client that are points, and what they are called."""
passed: Counter[str] = Counter()
"""How often each point was passed in this process."""


def asked() -> bool:
    """Whether any variable is set."""
    return bool(os.environ.get(STOP_AT) or os.environ.get(POINTS))


def reached(name: str) -> None:
    """Pass a point; where it is the one that was asked for, the process ends here."""
    if not asked():
        return
    passed[name] += 1
    passed["any"] += 1
    if file := os.environ.get(POINTS):
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(f"{name}\n")
    wanted, _, count = os.environ.get(STOP_AT, "").rpartition(":")
    if wanted in (name, "any") and passed[wanted] == int(count):
        os.kill(os.getpid(), signal.SIGKILL)


def watched(store: Store) -> Store:
    """The store, whose client passes points; and from now on every rename does, too.

    Where no variable is set it is the store itself.
    """
    if not asked():
        return store
    _watch_renames()
    return replace(store, client=_Client(store.client))


class _Client:
    """A client whose writes are points."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name not in WRITES:
            return found

        def called(*arguments: Any, **keywords: Any) -> Any:
            reached(f"{WRITES[name]}-before")
            answer = found(*arguments, **keywords)
            reached(f"{WRITES[name]}-after")
            return answer

        return called


def _watch_renames() -> None:
    if getattr(os.replace, "watched", False):
        return
    plain = os.replace

    def replaced(*arguments: Any, **keywords: Any) -> None:
        reached("rename-before")
        plain(*arguments, **keywords)
        reached("rename-after")

    replaced.watched = True  # type: ignore[attr-defined]
    os.replace = replaced
