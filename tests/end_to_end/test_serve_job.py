"""`lorarec serve` as a process: it answers on a port, and ends well when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from world import World

LORAREC = str(Path(sys.executable).parent / "lorarec")


def test_it_answers_on_a_port_of_its_own_and_ends_on_a_signal(world: World) -> None:
    said = world.folder / "said.txt"
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "LORAREC_TOKEN": "0123456789abcdef"}
    with open(said, "w") as log:
        process = subprocess.Popen([LORAREC, "serve", "--port", "0"], stderr=log, env=environ)
        try:
            deadline = time.monotonic() + 120
            while "served at" not in said.read_text() and time.monotonic() < deadline:
                assert process.poll() is None, said.read_text()
                time.sleep(0.1)
            address = said.read_text().partition("served at ")[2].partition(". ")[0]
            request = urllib.request.Request(
                f"{address}/recommend",
                json.dumps({"domain": "books", "user_id": "u00057", "k": 3}).encode(),
                {"Content-Type": "application/json", "Authorization": "Bearer 0123456789abcdef"},
            )
            with urllib.request.urlopen(request, timeout=60) as found:
                answer = json.load(found)
            assert len(answer["items"]) == 3
            assert answer["fallback"] is None
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0
    assert said.read_text().endswith("Ended.\n")
    assert "Traceback" not in said.read_text()
