"""MLflow's page in a real browser: the ranks of a sweep side by side, as `lorarec ui` opens it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.image
import pytest
from browser import CHROMIUM, browser
from world import World

from lorarec.jobs.sweep import sweep
from lorarec.tracking.view import AXES, RECALL

LORAREC = str(Path(sys.executable).parent / "lorarec")
ASIDE = "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"
"""MLflow's assistant, which takes a third of the page, is closed."""


@contextmanager
def shown(world: World, run: str) -> Iterator[str]:
    """`lorarec ui RUN`; the page that it says."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
    said = world.folder / "said.txt"
    with open(said, "w") as log:
        command = [LORAREC, "ui", run, "--no-open", "--port", port]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stderr=log, env=environ)
        try:
            deadline = time.monotonic() + 90
            while "compareRunsMode" not in said.read_text() and time.monotonic() < deadline:
                assert process.poll() is None, said.read_text()
                time.sleep(0.1)
            yield said.read_text().partition("side by side: ")[2].strip()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.mark.timeout(240)
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_a_person_sees_recall_against_rank_size_and_time(world: World, tmp_path: Path) -> None:
    done = sweep(world.settings.with_options({"adapt.rank": "1,4"}), "movies", world.store)
    adapters = [each.run.removeprefix("runs:/") for each in done.adapters.values()]
    recall = done.adapters[4].adapter.info.metrics["valid_recall_at_20"]
    with shown(world, done.run) as page, browser(tmp_path / "profile") as tab:
        server, _, experiment = page.partition("/#/experiments/")
        experiment = experiment.partition("/")[0]
        tab.before_any_page(ASIDE)
        tab.size(2000, 1100)

        table = f"{server}/#/experiments/{experiment}/runs?viewStateShareKey=lorarec"
        text = tab.open(table, "adapt-movies-r4", "adapt-books-r2", RECALL)
        assert {"domain", *AXES} <= set(text.split())
        assert f"{recall:.6f}"[:6] in text

        drawn = [f"{axis} vs. {RECALL}" for axis in AXES]
        text = tab.open(page, "adapt-movies-r1", "adapt-movies-r4", *drawn)
        assert "adapt-books" not in text
        picture = matplotlib.image.imread(io.BytesIO(tab.picture()), format="png")
        assert picture.shape[:2] == (1100, 2000)
        assert picture[..., :3].std() > 0.05  # neither blank nor a skeleton

        runs = f"runs={json.dumps(adapters)}&experiments={json.dumps([experiment])}"
        text = tab.open(f"{server}/#/compare-runs?{runs}", "Comparing 2 Runs", "adapt-movies-r4")
        rows = [line.split() for line in text.splitlines()]
        assert ["domain", "movies", "movies"] in rows
        assert ["rank", "1", "4"] in rows
        assert text.partition("Metrics:")[2].split()[0] == RECALL  # what is drawn at first
