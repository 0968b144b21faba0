"""Which process began a run, as tags, and whether it is still there.

A number alone is not enough, as a system gives it to another process later: the moment that the
process was started stands beside it, with the boot that this is counted from and the namespace of
the numbers (a container has its own).
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

HOST, PID, PROCESS = "lorarec.host", "lorarec.pid", "lorarec.process"
Fate = Literal["alive", "gone", "unknown"]
_PROC = Path("/proc")
_START_FIELD = 19  # `starttime` of proc(5), counted from the state, which follows the name
_DEAD = ("Z", "X")


def own_tags() -> dict[str, str]:
    """The tags of this process."""
    pid = os.getpid()
    started = _started(pid)
    found = {HOST: socket.gethostname(), PID: str(pid)}
    return found if started is None else {**found, PROCESS: f"{_system()}/{started}"}


def fate(tags: Mapping[str, str]) -> Fate:
    """What became of the process that a run's tags name.

    Returns:
        `unknown` where there are no such tags, where the process was on another machine or in
        another container, or where this system does not tell.
    """
    host, pid, process = (tags.get(name) for name in (HOST, PID, PROCESS))
    if host != socket.gethostname() or process is None or not (pid or "").isdigit():
        return "unknown"
    system, _, started = process.rpartition("/")
    boot, _, namespace = system.partition("/")
    here_boot, _, here_namespace = _system().partition("/")
    if boot != here_boot:
        return "gone"  # this machine was started anew since
    if namespace != here_namespace:
        return "unknown"
    return "alive" if _started(int(str(pid))) == started else "gone"


def _system() -> str:
    """The boot, and the namespace of process numbers; empty parts where a system has none."""
    boot = namespace = ""
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = os.readlink(_PROC / "self/ns/pid").strip("pid:[]")  # noqa: PTH115
    return f"{boot}/{namespace}"


def _started(pid: int) -> str | None:
    """When a process was started, as its system counts; None where there is none."""
    if (_PROC / "self").exists():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in _DEAD else fields[_START_FIELD]
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5
        )
        return found.stdout.strip() or None
    return None
