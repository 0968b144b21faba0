"""What a run took of its machine: samples while it runs, totals at its end, none where unwanted."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from lorarec.tracking import Store, find_run
from lorarec.tracking.surroundings import SWITCH


def watching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "SystemMetrics" in thread.name]


def test_a_training_is_watched_while_it_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with store.run("x", "adapt") as run:
        deadline = time.monotonic() + 10
        sampled: set[str] = set()
        while not sampled and time.monotonic() < deadline:
            sampled = {key for key in find_run(store, run.id).metrics if key.startswith("system/")}
            time.sleep(0.02)
        assert watching()
    assert "system/cpu_utilization_percentage" in sampled
    assert watching() == []
    assert find_run(store, run.id).status == "FINISHED"


def test_one_that_fails_is_watched_no_longer(store: Store) -> None:
    seen: list[str] = []
    with suppress(ZeroDivisionError), store.run("x", "adapt") as run:
        seen += watching()
        raise ZeroDivisionError
    assert seen
    assert watching() == []
    assert find_run(store, run.id).status == "FAILED"


def test_mlflows_own_switch_turns_samples_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "false")
    with store.run("x", "adapt") as run:
        assert watching() == []
    assert set(find_run(store, run.id).metrics) == {
        "process/cpu_seconds",
        "process/peak_memory_megabytes",
    }


def test_what_does_not_train_is_not_watched(store: Store) -> None:
    with store.run("x", "evaluate") as run:
        assert watching() == []
    assert find_run(store, run.id).metrics == {}
