"""What every engine keeps: each domain once, none stops another, a killed worker is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fanned import THREADS, broken, crowded, job

from lorarec.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    NotFoundError,
    WorkerLostError,
)
from lorarec.fanout.engines import engine_named
from lorarec.fanout.job import TRIES, Done, Engine, map_domains

NAMES = ["a-1", "b-2", "c-3", "d-4"]
TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
"""Where processes that a test starts find what is here."""


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """One for all tests of this file: starting it takes seconds."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    seen = {"env_vars": {"PYTHONPATH": PATH}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=seen)
    yield
    ray.shutdown()


@pytest.fixture(params=["serial", "spawn", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each, of two workers."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return engine_named(request.param, workers=2)


@pytest.fixture(params=["spawn", "ray"])
def apart(request: pytest.FixtureRequest) -> Engine:
    """Those whose workers are other processes."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return engine_named(request.param, workers=2)


def done(engine: Engine, folder: Path, names: list[str]) -> dict[str, Done[Any]]:
    """All of them, by domain; each is there once."""
    with map_domains(job(folder), names, engine) as each:
        found = list(each)
    assert sorted(one.domain for one in found) == sorted(names)
    return {one.domain: one for one in found}


def test_each_domain_is_done_once(engine: Engine, tmp_path: Path) -> None:
    found = done(engine, tmp_path, NAMES)
    assert {name: one.result() for name, one in found.items()} == {
        "a-1": 1, "b-2": 4, "c-3": 9, "d-4": 16,
    }  # fmt: skip
    assert len(list(tmp_path.glob("?-?.*"))) == 4
    assert len(list(tmp_path.glob("begun-*"))) <= 2


def test_a_domain_that_fails_leaves_the_others(engine: Engine, tmp_path: Path) -> None:
    found = done(engine, tmp_path, ["a-1", "bad-2", "c-3"])
    with pytest.raises(DataError, match="bad-2 has no rows"):
        found["bad-2"].result()
    assert (found["a-1"].result(), found["c-3"].result()) == (1, 9)


def test_what_cannot_begin_ends_the_pass(engine: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="The base was edited"),
        map_domains(broken(tmp_path), NAMES, engine) as each,
    ):
        list(each)


def test_nothing_to_do_is_done_at_once(engine: Engine, tmp_path: Path) -> None:
    assert done(engine, tmp_path, []) == {}


def test_a_killed_worker_s_domain_is_done_again(apart: Engine, tmp_path: Path) -> None:
    found = done(apart, tmp_path, ["a-1", "killed-5", "c-3"])
    assert found["killed-5"].result() == 25
    assert len(list(tmp_path.glob("killed-5.*"))) == 2
    assert (found["a-1"].result(), found["c-3"].result()) == (1, 9)


def test_one_that_no_worker_outlives_is_given_up(apart: Engine, tmp_path: Path) -> None:
    found = done(apart, tmp_path, ["deadly-1", *NAMES])
    with pytest.raises(WorkerLostError, match=rf"{TRIES} workers ended .* at 'deadly-1'"):
        found["deadly-1"].result()
    assert len(list(tmp_path.glob("deadly-1.*"))) == TRIES
    assert [found[name].error for name in NAMES] == [None] * 4


def test_workers_for_which_there_is_no_room_leave_the_work_to_others(tmp_path: Path) -> None:
    with map_domains(crowded(tmp_path), NAMES, engine_named("spawn", workers=2)) as each:
        assert sorted(one.result() for one in each) == [1, 4, 9, 16]


def test_where_no_worker_lives_the_pass_ends(tmp_path: Path) -> None:
    (tmp_path / "first").touch()
    with (
        pytest.raises(WorkerLostError, match=r"ended \(by SIGKILL\) before they took a domain"),
        map_domains(crowded(tmp_path), NAMES, engine_named("spawn", workers=2)) as each,
    ):
        list(each)


def test_a_worker_s_threads_are_pinned_and_ours_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    engine = engine_named("spawn", workers=1, threads=2)
    name = f"{THREADS}-1"
    assert done(engine, tmp_path, [name])[name].result() == "2"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_an_error_tells_where_it_was(tmp_path: Path) -> None:
    found = done(engine_named("spawn", workers=1), tmp_path, ["bad-2"])
    assert "in work" in found["bad-2"].error.__notes__[0]  # type: ignore[union-attr]


def test_no_worker_outlives_the_block(tmp_path: Path) -> None:
    with map_domains(job(tmp_path), ["a-1", "long-2"], engine_named("spawn", workers=2)) as each:
        assert next(each).domain == "a-1"
        assert len(multiprocessing.active_children()) >= 1
    assert multiprocessing.active_children() == []


SCRIPT = """
import sys
from pathlib import Path
from fanned import job
from lorarec.fanout.engines import engine_named
from lorarec.fanout.job import map_domains

if __name__ == "__main__":
    names = ["long-1", "long-2"]
    with map_domains(job(Path(sys.argv[1])), names, engine_named("spawn", 2)) as each:
        list(each)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A process with two workers that are busy for a minute, in a group of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PATH},
        start_new_session=True,
    )

    def start() -> subprocess.Popen[str]:
        wait_until(lambda: len(list(tmp_path.glob("long-?.0"))) == 2)
        return process

    yield start
    process.kill()
    process.communicate()


def wait_until(true: Callable[[], bool]) -> None:
    """Or fail after half a minute."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_workers_end_with_the_process_that_began_them(
    started: Callable[[], subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    process = started()
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("begun-*")]
    assert len(workers) == 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal sends Ctrl-C: to all of them
        assert process.communicate(timeout=30)[1].count("Traceback") == 1  # of the script alone
    else:
        process.kill()
    wait_until(lambda: not any(alive(pid) for pid in workers))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "localhost:port"])
def test_a_cluster_that_does_not_answer_is_told_at_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray itself is not asked, and need not be there.
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(NotFoundError, match=f"Ray at {address} does not answer"):
        map_domains(job(tmp_path), NAMES, engine_named("ray", address=address)).__enter__()


def test_without_ray_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'lorarec\[ray\]'"):
        engine_named("ray")
