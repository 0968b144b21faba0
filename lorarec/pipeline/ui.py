"""Dagster's page on loopback: lineage, a partition for each domain, the gate's verdicts, schedule.

Nothing here imports Dagster at the top: where it is missing, that is said.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.config.writing import toml_text
from lorarec.errors import ConfigError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline import history
from lorarec.storage import write_text
from lorarec.tracking.child_server import HOST, check_port, child_server

HOME, PORT = "dagster", 3000
"""Folder of Dagster's store below the pipeline's work folder; its own default port."""
SETTINGS, CODE, INSTANCE = "lorarec.toml", "definitions.py", "dagster.yaml"
SECONDS_BETWEEN = 5.0
"""How often is looked whether the history has more."""
QUIET = {"DAGSTER_DISABLE_TELEMETRY": "1"}
CONFIG = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
"""
LOADS = '''\
"""Written by `lorarec pipeline ui`, which writes it anew."""

import os

from lorarec.pipeline.definitions import definitions

# These may hold a password, and are not for a file.
KEPT = {{name: value for name, value in os.environ.items() if name in {secret!r}}}
defs = definitions({file!r}, environ=KEPT)
'''
WEBHOOK, STORE = "LORAREC_PIPELINE__WEBHOOK", "LORAREC_TRACKING__URI"


@dataclass(frozen=True)
class Page:
    """Dagster's page, served.

    Attributes:
        address: What a browser opens.
        home: Folder of Dagster's store.
        wait: Keeps the page up with the history until the server ends by itself.
    """

    address: str
    home: Path
    wait: Callable[[], None]


def need_dagster(modules: Sequence[str] = ("dagster", "dagster_webserver")) -> None:
    """Refuse where the orchestrator is missing.

    Raises:
        ConfigError: It is; the command that installs it is told.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Dagster's page needs {' and '.join(missing)}, which this installation lacks. "
            f"Expected {'both' if len(missing) > 1 else 'it'}; install: "
            f"pip install 'lorarec[pipelines]'. The retraining itself needs neither."
        )


def prepare_home(settings: Settings) -> Path:
    """The folder of Dagster's store, with these settings as what its definitions read.

    `dagster.yaml` is written where it is absent, so that a team's own stays.

    Raises:
        StoreError: The disk refused.
    """
    home = (Path(settings.pipeline.work) / HOME).absolute()
    sections = tuple(type(settings).model_fields)
    pipeline = settings.pipeline.model_copy(update={"webhook": None})
    tracking = settings.tracking.model_copy(update={"uri": type(settings.tracking)().uri})
    plain = settings.model_copy(update={"pipeline": pipeline, "tracking": tracking})
    write_text(home / SETTINGS, toml_text(plain, sections))
    write_text(home / CODE, LOADS.format(file=str(home / SETTINGS), secret=(WEBHOOK, STORE)))
    if not (home / INSTANCE).exists():
        write_text(home / INSTANCE, CONFIG)
    return home


@contextmanager
def serving(settings: Settings, port: int, listen: Listener = SILENT) -> Iterator[Page]:
    """Dagster's page, with its daemon, on 127.0.0.1 for the length of the block.

    Args:
        settings: `[pipeline] work` says where; all are handed on to what is started in the page.
        port: TCP port.
        listen: Takes words.

    Raises:
        ConfigError: Dagster is missing, or the port is occupied.
        StoreError: The server did not come up.
        ArtifactError: The history was edited or damaged.
    """
    need_dagster()
    check_port(port, "lorarec pipeline ui", PORT)
    home = prepare_home(settings)
    environ = {**os.environ, **QUIET, "DAGSTER_HOME": str(home)}
    if (webhook := settings.pipeline.webhook) is not None:
        environ[WEBHOOK] = webhook.get_secret_value()
    if settings.tracking.uri:
        environ[STORE] = settings.tracking.uri
    os.environ.update(QUIET)
    from lorarec.pipeline.events import bring_over, opened

    with opened(home) as instance:
        brought = bring_over(settings, instance)
        if brought:
            listen.say(f"{brought} retrainings of the history were brought over to Dagster.")
        command = [sys.executable, "-m", "dagster", "dev", "-f", str(home / CODE)]
        command += ["-h", HOST, "-p", str(port), "-d", str(Path.cwd())]
        with child_server(
            "Dagster's page", command, environ, port, "/server_info", ends_its_own=True
        ) as process:

            def wait() -> None:
                work = Path(settings.pipeline.work)
                _keep_up(process, work, lambda: bring_over(settings, instance))

            yield Page(f"http://{HOST}:{port}", home, wait)


def _keep_up(process: subprocess.Popen[bytes], work: Path, bring: Callable[[], int | None]) -> None:
    """Bring over what the history has more, until the server ends."""
    seen = _written(work)
    while process.poll() is None:
        time.sleep(SECONDS_BETWEEN)
        now = _written(work)
        if now != seen and bring() is not None:
            seen = now


def _written(work: Path) -> float:
    try:
        return (work / history.NAME).stat().st_mtime
    except OSError:
        return 0.0
