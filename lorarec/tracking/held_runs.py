"""Runs of a process that has no store: held in memory, handed over, and entered by one that has.

A store of SQLite wants one writer. So workers train as ever, with `HeldRuns` in place of the
`Store`, and the process that gave them the work writes what they hold.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lorarec.tracking.inputs import Input
from lorarec.tracking.runs import milliseconds
from lorarec.tracking.store import Store
from lorarec.tracking.surroundings import WATCHED, totals


class RunLog(Protocol):
    """What a job tells a run."""

    @property
    def id(self) -> str:
        """Its id, 32 hex digits."""

    @property
    def uri(self) -> str:
        """`runs:/<id>`."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """As `Run.log_params`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """As `Run.log_metrics`."""

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """As `Run.set_tags`."""

    def log_inputs(self, *inputs: Input) -> None:
        """As `Run.log_inputs`."""

    def log_json(self, name: str, value: Any) -> None:
        """As `Run.log_json`."""

    def log_file(self, name: str, write: Callable[[Path], None]) -> None:
        """As `Run.log_file`."""

    def artifact_folder(self, name: str) -> AbstractContextManager[Path]:
        """As `Run.artifact_folder`."""


class Runs(Protocol):
    """Where a job's runs go: a `Store`, or `HeldRuns`."""

    def run(
        self,
        name: str,
        kind: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, object] | None = None,
        config: Mapping[str, Any] | None = None,
        parent: str | None = None,
        began: int | None = None,
    ) -> AbstractContextManager[RunLog]:
        """As `Store.run`."""


@dataclass
class HeldRun:
    """Everything that one run was told; a `RunLog`."""

    name: str
    kind: str
    params: dict[str, Any]
    tags: dict[str, object]
    config: Mapping[str, Any] | None
    parent: str | None
    began: int
    """Milliseconds since 1970."""
    metrics: list[tuple[dict[str, float], int, int]] = field(default_factory=list)
    """Metrics, their step, and when they were told."""
    inputs: list[Input] = field(default_factory=list)
    """Logs that it read."""
    values: dict[str, Any] = field(default_factory=dict)
    """JSON artifacts."""
    files: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    error: Exception | None = None
    """What ended it."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of here alone: the store gives another."""

    @property
    def uri(self) -> str:
        """As long as it is held, nobody finds it by this."""
        return f"runs:/{self.id}"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Hold parameters."""
        self.params |= params

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Hold metrics of a step."""
        self.metrics.append((dict(metrics), step, milliseconds()))

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Hold tags."""
        self.tags |= {key: value for key, value in tags.items() if value is not None}

    def log_inputs(self, *inputs: Input) -> None:
        """Hold logs that were read."""
        self.inputs += inputs

    def log_json(self, name: str, value: Any) -> None:
        """Hold a JSON artifact."""
        self.values[name] = value

    def log_file(self, name: str, write: Callable[[Path], None]) -> None:
        """Hold a file."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(name).name
            write(file)
            self.files[name] = file.read_bytes()

    @contextmanager
    def artifact_folder(self, name: str) -> Iterator[Path]:
        """A folder to write into, which is held when the block ends well."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            yield folder
            self.folders[name] = {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }


@dataclass
class HeldRuns:
    """In place of a store: keeps its runs in memory."""

    ended: list[HeldRun] = field(default_factory=list)
    """In the order they ended."""

    @contextmanager
    def run(
        self,
        name: str,
        kind: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, object] | None = None,
        config: Mapping[str, Any] | None = None,
        parent: str | None = None,
        began: int | None = None,
    ) -> Iterator[HeldRun]:
        """A run for the length of a `with` block, held however that ends."""
        held = HeldRun(name, kind, {**(params or {})}, {}, config, parent, began or milliseconds())
        held.set_tags(tags or {})
        try:
            with totals(held) if kind in WATCHED else nullcontext():
                yield held
        except Exception as error:
            held.error = error
            raise
        finally:
            self.ended.append(held)


def entered(held: HeldRun, store: Store) -> str:
    """Write a held run into a store, as if it had been there from its beginning.

    Args:
        held: By a process of the same pass.
        store: Open for writing.

    Returns:
        Its URI, `runs:/<id>`.

    Raises:
        Exception: What ended it; then it stands in the store as FAILED.
        StoreError: The store or the disk refused.
    """
    recorded = store.run(
        held.name,
        held.kind,
        params=held.params,
        tags=held.tags,
        config=held.config,
        parent=held.parent,
        began=held.began,
    )
    with recorded as run:
        if held.inputs:
            run.log_inputs(*held.inputs)
        for metrics, step, at in held.metrics:
            run.log_metrics(metrics, step, at)
        for name, value in held.values.items():
            run.log_json(name, value)
        for name, content in held.files.items():
            run.log_file(name, _writing(content))
        for name, files in held.folders.items():
            with run.artifact_folder(name) as folder:
                for file, content in files.items():
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).write_bytes(content)
        if held.error is not None:
            raise held.error
    return run.uri


def _writing(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
