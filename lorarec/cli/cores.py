"""How long threads that wait for each other keep a core busy."""

from __future__ import annotations

from collections.abc import MutableMapping

SPINS = "1000"
"""Looks at a lock before a thread sleeps, some microseconds. GNU OpenMP's own default is a thousand
times that, which costs nothing on an idle machine; where other work wants the cores too, threads
spin away what the slowest of them needs, and training takes many times as long."""
ASKED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Variables by which a person decides otherwise."""


def share_cores(environ: MutableMapping[str, str]) -> None:
    """Make threads of torch and FAISS sleep soon. It has to come before they are loaded."""
    if not any(name in environ for name in ASKED):
        environ["GOMP_SPINCOUNT"] = SPINS
