"""Threads that wait leave the cores to others."""

from __future__ import annotations

import pytest

from lorarec.cli.cores import SPINS, share_cores


def test_threads_sleep_soon() -> None:
    environ = {"PATH": "/bin"}
    share_cores(environ)
    assert environ == {"PATH": "/bin", "GOMP_SPINCOUNT": SPINS}


@pytest.mark.parametrize("asked", [{"GOMP_SPINCOUNT": "5"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_a_person_asked_for_stands(asked: dict[str, str]) -> None:
    environ = dict(asked)
    share_cores(environ)
    assert environ == asked
