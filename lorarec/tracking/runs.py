"""One MLflow run: its params, tags, metrics and artifacts, and how it ends."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorarec.errors import StoreError
from lorarec.storage import atomic_dir, atomic_path, write_json, write_text
from lorarec.tracking.flat import MAX_KEY, flat
from lorarec.tracking.inputs import Input
from lorarec.tracking.interrupts import held
from lorarec.tracking.processes import own_tags
from lorarec.tracking.refusals import refusals
from lorarec.tracking.surroundings import WATCHED, environment, program_tags, watched

if TYPE_CHECKING:
    from mlflow import MlflowClient

KINDS = (
    "pretrain",
    "import",
    "adapt",
    "adapt-all",
    "full",
    "evaluate",
    "evaluate-all",
    "backtest",
    "gate",
    "sweep",
    "tune",
    "trial",
    "sum",
    "truncate",
    "quantize",
    "peft-import",
    "serve",
    "report",
)
TAG = "lorarec."
PARENT = "mlflow.parentRunId"
"""MLflow's own tag: its UI shows a run that has it under the run that it names."""
STANDARD_TAGS = (
    "domain",
    "rank",
    "base_run",
    "base_digest",
    "adapter_run",
    "adapter_digest",
    "parents",
    "data_digest",
    "split",
    "cutoff",
    "part",
    "recall_denominator",
    "protocol",
    "device",
    "ranks",
    "recipe",
    "source",
    "source_digest",
    "leak",
    "trial",
    "chosen",
    "retrain",
    "retrained_at",
)
"""Written as `lorarec.domain` and so on; `lorarec.kind`, `.version` and `.git_sha` come along."""

MAX_TAG = 5000
PARAMS_A_BATCH, METRICS_A_BATCH = 100, 1000
SECONDS_BETWEEN_BATCHES = 5.0
_METRIC_KEY = re.compile(r"[\w.\- /:]{1,250}")


def milliseconds() -> int:
    """Since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def standard_tags(**values: object) -> dict[str, str]:
    """Tags under their full names, such as `lorarec.domain`; None is left out.

    Args:
        **values: Any of `STANDARD_TAGS`.

    Raises:
        ValueError: A name is none of them.
    """
    unknown = sorted(set(values) - set(STANDARD_TAGS))
    if unknown:
        raise ValueError(f"{unknown} are no standard tags; there are {list(STANDARD_TAGS)}")
    return {TAG + name: str(value) for name, value in values.items() if value is not None}


class Run:
    """A run in progress. Made by `Store.run`.

    Attributes:
        id: MLflow's run id, 32 hex digits.
        name: As shown in the UI.
        kind: One of `KINDS`.
    """

    def __init__(
        self,
        client: MlflowClient,
        store_uri: str,
        run_id: str,
        name: str,
        kind: str,
        artifacts: str,
    ) -> None:
        self.id = run_id
        self.name = name
        self.kind = kind
        self._client = client
        self._store_uri = store_uri
        self._artifacts = artifacts
        self._waiting: list[tuple[str, float, int, int]] = []
        self._sent = time.monotonic()

    @property
    def uri(self) -> str:
        """`runs:/<id>`, accepted wherever a base or an adapter is asked for."""
        return f"runs:/{self.id}"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters once: nested keys joined by dots, long values cut.

        Raises:
            StoreError: The store refused.
        """
        from mlflow.entities import Param

        entities = [Param(key, value) for key, value in flat(params)]
        with refusals(self._store_uri):
            for start in range(0, len(entities), PARAMS_A_BATCH):
                self._client.log_batch(self.id, params=entities[start : start + PARAMS_A_BATCH])

    def log_metrics(
        self, metrics: Mapping[str, float], step: int = 0, at: int | None = None
    ) -> None:
        """Note metrics of a step; they are sent in batches, the last when the run ends.

        Args:
            metrics: Key → value. `recall@20` is written `recall_at_20`: MLflow refuses `@`.
            step: Epoch or step, 0 or more.
            at: Milliseconds since 1970; None is now.

        Raises:
            ValueError: A key that MLflow would refuse.
            StoreError: The store refused a batch.
        """
        now = milliseconds() if at is None else at
        for key, value in metrics.items():
            if not _METRIC_KEY.fullmatch(key):
                legal = re.sub(r"[^\w.\- /:]", "_", key.replace("@", "_at_"))[:MAX_KEY]
                raise ValueError(
                    f"{key!r} cannot name a metric in MLflow. Expected letters, digits and "
                    f"_-./: such as {legal!r}."
                )
            self._waiting.append((key, float(value), now, step))
        late = time.monotonic() - self._sent > SECONDS_BETWEEN_BATCHES
        if late or len(self._waiting) >= METRICS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait.

        Raises:
            StoreError: The store refused; the metrics keep waiting.
        """
        from mlflow.entities import Metric

        while self._waiting:
            batch = self._waiting[:METRICS_A_BATCH]
            with refusals(self._store_uri):
                self._client.log_batch(self.id, metrics=[Metric(*metric) for metric in batch])
            del self._waiting[: len(batch)]
        self._sent = time.monotonic()

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags under their full names; None is left out.

        Raises:
            StoreError: The store refused.
        """
        from mlflow.entities import RunTag

        entities = [
            RunTag(key[:MAX_KEY], str(value)[:MAX_TAG])
            for key, value in tags.items()
            if value is not None
        ]
        with refusals(self._store_uri):
            for start in range(0, len(entities), PARAMS_A_BATCH):
                self._client.log_batch(self.id, tags=entities[start : start + PARAMS_A_BATCH])

    def log_inputs(self, *inputs: Input) -> None:
        """Record logs that the run reads, as MLflow's data sets.

        Raises:
            StoreError: The store refused.
        """
        with refusals(self._store_uri):
            self._client.log_inputs(self.id, [each.as_dataset() for each in inputs])

    def log_json(self, name: str, value: Any) -> None:
        """Keep `value` as the JSON artifact `name`, such as `report.json`; NaN becomes null.

        Raises:
            StoreError: The store or the disk refused.
        """
        plain = _without_nan(json.loads(json.dumps(value, default=str)))
        self.log_file(name, lambda path: write_json(path, plain))

    def log_text(self, name: str, text: str) -> None:
        """Keep `text` as the artifact `name`, such as `best.toml`, in place of one that is there.

        Raises:
            StoreError: The store or the disk refused.
        """
        self.log_file(name, lambda path: write_text(path, text))

    def log_file(self, name: str, write: Callable[[Path], None]) -> None:
        """Keep what `write` puts at a path as the artifact `name`, such as `rank_curve.png`.

        Raises:
            StoreError: The store or the disk refused.
        """
        local = local_folder(self._artifacts)
        if local is not None:
            with atomic_path(local / name) as path:
                write(path)
            return
        with tempfile.TemporaryDirectory() as folder, refusals(self._store_uri):
            file = Path(folder) / Path(name).name
            write(file)
            parent = str(Path(name).parent)
            self._client.log_artifact(self.id, str(file), None if parent == "." else parent)

    @contextmanager
    def artifact_folder(self, name: str) -> Iterator[Path]:
        """A folder to write into, which becomes the artifact `name` when the block ends well.

        On a local store it is written in place, without a copy, and stands whole or not at all.

        Raises:
            StoreError: The store or the disk refused, or the artifact exists already.
        """
        local = local_folder(self._artifacts)
        if local is not None:
            with atomic_dir(local / name) as folder:
                yield folder
            return
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
            with refusals(self._store_uri):
                self._client.log_artifacts(self.id, temporary, name)

    def log_artifacts(self, folder: Path, name: str | None = None) -> None:
        """Keep a copy of `folder` as the artifact `name`; None takes the folder's own name.

        Raises:
            StoreError: The store or the disk refused, or the artifact exists already.
        """
        with self.artifact_folder(name or folder.name) as target:
            shutil.copytree(folder, target, dirs_exist_ok=True)

    def end(self, status: str) -> None:
        """Send what waits and set the final status: FINISHED, FAILED or KILLED.

        Raises:
            StoreError: The store refused.
        """
        self.flush()
        with refusals(self._store_uri):
            self._client.set_terminated(self.id, status)


@contextmanager
def started(
    client: MlflowClient,
    store_uri: str,
    experiment_id: str,
    name: str,
    kind: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, object],
    config: Mapping[str, Any] | None,
    parent: str | None,
    began: int | None = None,
) -> Iterator[Run]:
    """The context behind `Store.run`."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of run; there are {list(KINDS)}")
    own = {key: str(value)[:MAX_TAG] for key, value in tags.items() if value is not None}
    begun = {f"{TAG}kind": kind, "mlflow.source.name": f"lorarec {kind}"}
    given = {**begun, **own_tags(), **program_tags(), **own}
    if parent is not None:
        given[PARENT] = parent

    def begin() -> Run:
        info = client.create_run(experiment_id, began, run_name=name, tags=given).info
        return Run(client, store_uri, info.run_id, name, kind, info.artifact_uri)

    with _ended(store_uri, begin) as run:
        if params:
            run.log_params(params)
        if config is not None:
            run.log_json("config.json", config)
            run.log_json("environment.json", environment())
        # What was held elsewhere has totals of its own.
        here = kind in WATCHED and began is None
        with watched(run, store_uri) if here else nullcontext():
            yield run


@contextmanager
def reopened(client: MlflowClient, store_uri: str, run_id: str) -> Iterator[Run]:
    """The context behind `Store.resumed`."""

    def begin() -> Run:
        client.update_run(run_id, status="RUNNING")
        for key, value in own_tags().items():
            client.set_tag(run_id, key, value)
        found = client.get_run(run_id)
        if f"{TAG}error" in found.data.tags:
            client.delete_tag(run_id, f"{TAG}error")
        kind = found.data.tags.get(f"{TAG}kind", "other")
        return Run(
            client, store_uri, run_id, found.info.run_name or kind, kind, found.info.artifact_uri
        )

    with _ended(store_uri, begin) as run:
        yield run


@contextmanager
def _ended(store_uri: str, begin: Callable[[], Run]) -> Iterator[Run]:
    """The run that `begin` gives, ended as the block ends."""
    run: Run | None = None
    try:
        # A run that the store has and this process does not know of could never be ended.
        with refusals(store_uri), held():
            run = begin()
        yield run
        run.end("FINISHED")
    except BaseException as error:
        with held():
            if run is not None:
                _close(run, error)
        raise


def _close(run: Run, error: BaseException) -> None:
    """End a run that an exception broke off; a store that refuses this too changes nothing."""
    with suppress(StoreError):
        run.set_tags({f"{TAG}error": f"{type(error).__name__}: {error}"})
    with suppress(StoreError):
        run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def local_folder(uri: str) -> Path | None:
    """The folder of a local artifact URI; None for a remote one."""
    path = uri.removeprefix("file://")
    return Path(path) if path.startswith("/") else None


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
