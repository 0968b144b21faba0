"""Starts commands of lorarec at once: a process with everything imported, which forks for each.

It reads a JSON a line, `{"cwd": ..., "environ": {...}, "arguments": [...]}`, writes the number of
the process it has begun, which leads a group of its own, and then the status that it ended with.
Its own threads have not begun, so that a fork is safe.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MODULES = (
    "lorarec.cli.main",
    "lorarec.cli.listening",
    "lorarec.cli.pipeline",
    "lorarec.pipeline.retrain",
    "lorarec.tracking.store",
    "lorarec.tracking.quiet",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "matplotlib.figure",
)


def main() -> None:
    """Serve until stdin ends."""
    for name in MODULES:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _command(asked["cwd"], asked["environ"], asked["arguments"])
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


def _command(cwd: str, environ: dict[str, str], arguments: list[str]) -> NoReturn:
    from lorarec.cli.main import _run

    os.setsid()
    os.chdir(cwd)
    os.environ.update(environ)
    with open(Path(cwd) / "out.log", "a") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = 3
        try:
            code = _run(arguments)
        finally:
            sys.stdout.flush()
            os._exit(code)


if __name__ == "__main__":
    main()
