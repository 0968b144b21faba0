"""A base by two processes of torchrun, as typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from world import World, store_in

from lorarec.models.artefact import Base, load_base
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import recent_runs

TOLERANCE = 1e-5
"""Largest difference of a number of the base to that of one process. Seen: 3.6e-7."""
PRETRAIN = [sys.executable, "-m", "lorarec", "pretrain", "--data", "logs.parquet", "--json"]


KILLED = """
import os, signal
from lorarec.training.checkpoint import Checkpoints
from lorarec.__main__ import run

save, times = Checkpoints.save, []

def killed(*given):
    save(*given)
    times.append(1)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and os.environ["RANK"] == "1" and len(times) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = killed
run()
"""
"""The command, of which the second process is killed once, as it has saved its third part."""


@pytest.fixture
def untrained(project: Path, world_template: World) -> Path:
    """The logs and settings of the small world, and an empty store."""
    for name in ("logs.parquet", "lorarec.toml"):
        shutil.copy(world_template.folder / name, project / name)
    return project


def torchrun(*command: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),
            *("--max-restarts", str(restarts), "--no-python"),
            *command,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def newest(folder: Path) -> RunInfo:
    (run,) = recent_runs(store_in(folder), 10)
    return run


def test_two_processes_record_the_base_that_one_would(
    untrained: Path, world_template: World
) -> None:
    done = torchrun(*PRETRAIN)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)  # once: the second process is silent
    run = newest(untrained)
    assert told["run"] == f"runs:/{run.run_id}"
    assert run.tags["lorarec.ranks"] == "2"
    ours = load_base(untrained / "mlruns" / "artifacts" / run.run_id / "artifacts" / "base")
    theirs = world_template.load(world_template.base)
    assert_same(ours, theirs)


def assert_same(ours: Base, theirs: Base) -> None:
    assert ours.users.digest() == theirs.users.digest()
    for name, tensor in theirs.model.tensors().items():
        found = ours.model.tensors()[name].numpy()
        np.testing.assert_allclose(found, tensor.numpy(), rtol=0, atol=TOLERANCE)


def test_of_tables_in_shards_a_killed_process_is_started_again_and_all_go_on(
    untrained: Path, world_template: World
) -> None:
    Path("killed.py").write_text(KILLED)
    command = [sys.executable, "killed.py", *PRETRAIN[3:], "--shard-tables"]
    done = torchrun(
        *command, "--checkpoint", "saved", "--checkpoint-every", "2", "--resume", restarts=1
    )
    assert done.returncode == 0, done.stderr
    assert "There is no checkpoint in saved" in done.stderr
    assert "Going on from the checkpoint of step" in done.stderr
    run = json.loads(done.stdout)["run"].removeprefix("runs:/")
    ours = load_base(untrained / "mlruns" / "artifacts" / run / "artifacts" / "base")
    assert_same(ours, world_template.load(world_template.base))
    assert list(Path("saved").iterdir()) == []


def test_settings_that_differ_end_all_of_them_with_the_reason(untrained: Path) -> None:
    done = torchrun("sh", "-c", 'LORAREC_TRAIN__SEED=$RANK exec "$@"', "sh", *PRETRAIN)
    assert done.returncode == 1  # torchrun's own, whatever its processes end with
    assert done.stdout == ""
    assert done.stderr.count("Error: Rank 1 of 2 does not train the same") == 1
    assert "train.seed is '0' on rank 0 and '1' there" in done.stderr
    assert "exitcode  : 2" in done.stderr
    assert recent_runs(store_in(untrained), 10) == []
