"""Which process began a run, and whether it is still there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lorarec.tracking import Store, find_run
from lorarec.tracking.processes import HOST, PID, PROCESS, fate, own_tags


def test_this_process_is_alive() -> None:
    assert own_tags()[PID] == str(os.getpid())
    assert fate(own_tags()) == "alive"


def test_a_process_that_has_ended_is_gone_and_so_is_a_zombie() -> None:
    code = "import json, lorarec.tracking.processes as p; print(json.dumps(p.own_tags()))"
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    tags = json.loads(started.stdout.read())
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert fate(tags) == "gone"  # nobody has asked for its end yet
    started.wait()
    assert fate(tags) == "gone"


def test_another_process_with_the_same_number_is_not_it() -> None:
    tags = own_tags()
    system, _, started = tags[PROCESS].rpartition("/")
    assert fate({**tags, PROCESS: f"{system}/{int(started) - 1}"}) == "gone"


def test_a_machine_that_was_started_anew_has_none_of_its_processes() -> None:
    tags = own_tags()
    _, namespace, started = tags[PROCESS].split("/")
    assert fate({**tags, PROCESS: f"another-boot/{namespace}/{started}"}) == "gone"


@pytest.mark.parametrize("name", [HOST, PID, PROCESS])
def test_without_a_tag_nothing_is_known(name: str) -> None:
    assert fate({key: value for key, value in own_tags().items() if key != name}) == "unknown"


def test_of_another_machine_or_container_nothing_is_known() -> None:
    tags = own_tags()
    boot, _, started = tags[PROCESS].split("/")
    assert fate({**tags, HOST: "elsewhere"}) == "unknown"
    assert fate({**tags, PROCESS: f"{boot}/1/{started}"}) == "unknown"


def test_a_run_that_goes_on_names_the_process_that_goes_on(store: Store) -> None:
    with store.run("x", "tune") as run:
        assert find_run(store, run.id).tags[PID] == str(os.getpid())
    store.tag(run.id, {PID: "1"})
    with store.resumed(run.id):
        assert find_run(store, run.id).tags[PID] == str(os.getpid())
