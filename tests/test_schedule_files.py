"""The files for schedulers in pipelines/ are what those read, and start the retraining."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

from lorarec.config import load_settings
from lorarec.config.cron import checked_cron

PIPELINES = ROOT / "pipelines"
RUN = ["lorarec", "pipeline", "run"]
NIGHTLY = "0 3 * * *"


def test_the_settings_are_read_and_say_when() -> None:
    settings = load_settings(PIPELINES / "lorarec.toml", environ={})
    assert settings.pipeline.cron == NIGHTLY
    assert settings.pipeline.logs
    assert settings.gate.must_beat == ("champion", "base")


def test_the_line_of_cron_is_one_and_runs_the_retraining() -> None:
    (line,) = [
        line
        for line in (PIPELINES / "crontab").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    fields = line.split(maxsplit=5)
    assert checked_cron(" ".join(fields[:5])) == NIGHTLY
    assert "%" not in fields[5]  # which cron reads as the end of a line
    words = shlex.split(fields[5])
    assert words[words.index("lorarec") :][:3] == RUN


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((PIPELINES / name).read_text())
    return found


def test_the_timer_starts_the_service() -> None:
    timer, service = unit("lorarec-retrain.timer"), unit("lorarec-retrain.service")
    assert timer["Timer"]["Unit"] == "lorarec-retrain.service"
    assert timer["Timer"]["Persistent"] == "true"
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d UTC", timer["Timer"]["OnCalendar"])
    assert service["Service"]["Type"] == "oneshot"
    command = shlex.split(service["Service"]["ExecStart"])
    assert [Path(command[0]).name, *command[1:]] == RUN
    assert Path(command[0]).is_absolute()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    lorarec = tmp_path / "lorarec"
    lorarec.write_text("#!/bin/sh\n")
    lorarec.chmod(0o755)
    for name in ("lorarec-retrain.service", "lorarec-retrain.timer"):
        text = (PIPELINES / name).read_text()
        (tmp_path / name).write_text(re.sub(r"ExecStart=\S+", f"ExecStart={lorarec}", text))
    found = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "lorarec-retrain.timer")],
        capture_output=True,
        text=True,
    )
    ours = [line for line in found.stderr.splitlines() if "lorarec-retrain" in line]
    assert not ours


def test_the_cron_job_of_kubernetes_forbids_two_at_once() -> None:
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML is not installed")
    job = yaml.safe_load((PIPELINES / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert checked_cron(spec["schedule"]) == NIGHTLY
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["command"] == RUN
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_definitions_of_a_team_load_and_have_the_schedule(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    pytest.importorskip("dagster", reason="dagster is not installed")
    shutil.copy(PIPELINES / "lorarec.toml", bare_project)
    text = (PIPELINES / "definitions.py").read_text()
    assert len(text.splitlines()) <= 25
    names: dict[str, Any] = {}
    exec(compile(text, "definitions.py", "exec"), names)
    (schedule,) = names["defs"].schedules
    assert schedule.cron_schedule == NIGHTLY
