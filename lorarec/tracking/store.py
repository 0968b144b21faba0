"""Where runs are kept: which MLflow store and experiment, opened or refused with the reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorarec.config import Tracking
from lorarec.errors import StoreError
from lorarec.tracking.database import (
    SQLITE,
    alone,
    check_database,
    database_path,
    make_database,
    reading_uri,
    remove_unfinished,
)
from lorarec.tracking.flip import check_finished
from lorarec.tracking.quiet import mlflow_client
from lorarec.tracking.reach import check_reached, without_password
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import Run, local_folder, reopened, started
from lorarec.tracking.view import experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlruns/mlflow.db"


@dataclass(frozen=True)
class Store:
    """An open MLflow store. Made by `open_store`.

    Attributes:
        uri: Absolute tracking URI.
        client: The one way to it; no run is ever globally active.
        experiment: Name of the project's experiment.
        experiment_id: Its id; None where it does not exist and the store was opened to read.
        artifact_root: Folder beside a SQLite store that holds its artifacts; None elsewhere.
        writable: Whether it was opened to write.
        marks: Tags of every run that is begun through it, under their full names.
    """

    uri: str
    client: MlflowClient
    experiment: str
    experiment_id: str | None
    artifact_root: Path | None
    writable: bool = True
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The URI as it may be shown: without a password."""
        return without_password(self.uri)

    def marked(self, marks: Mapping[str, str]) -> Store:
        """The same store, whose new runs have these tags as well.

        Args:
            marks: See `lorarec.tracking.runs.standard_tags`.
        """
        return replace(self, marks={**self.marks, **marks})

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
    ) -> AbstractContextManager[Run]:
        """A new run for the length of a `with` block.

        It ends FINISHED, or FAILED on an exception, or KILLED on Ctrl-C or a signal to end; the
        exception goes on.

        Args:
            name: As shown in the UI, such as `adapt-books-r8`.
            kind: One of `lorarec.tracking.runs.KINDS`.
            params: Flattened and logged once, such as `Settings.flat()`.
            tags: See `lorarec.tracking.runs.standard_tags`.
            config: The resolved settings; kept as the artifact config.json, with the environment
                beside it in environment.json.
            parent: Id of the run that this one is a part of.
            began: When its work began, in milliseconds since 1970, of a run that was held
                elsewhere, whose machine is not watched here; None is now.

        Raises:
            StoreError: The store or its artifact folder cannot be written to.
        """
        return started(
            self.client,
            self.uri,
            self._writable(),
            name,
            kind,
            params=params or {},
            tags={**self.marks, **(tags or {})},
            config=config,
            parent=parent,
            began=began,
        )

    def resumed(self, run_id: str) -> AbstractContextManager[Run]:
        """A run that has ended or was broken off, going on for the length of a `with` block.

        It ends as one of `run` does.

        Raises:
            StoreError: The store or its artifact folder cannot be written to.
        """
        self._writable()
        return reopened(self.client, self.uri, run_id)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run that has ended, which stays as it ended otherwise.

        Raises:
            StoreError: The store refused.
        """
        with refusals(self.uri):
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value)

    def killed(self, run_id: str) -> None:
        """End a run as KILLED whose own process is gone and could not.

        Raises:
            StoreError: The store refused.
        """
        with refusals(self.uri):
            self.client.set_terminated(run_id, "KILLED")

    def _writable(self) -> str:
        """The experiment's id, once it is known that runs can be written to it."""
        if self.experiment_id is None:
            raise StoreError(
                f"The MLflow store {self.shown} was opened to read. Expected one opened to write."
            )
        self._check_artifact_root()
        return self.experiment_id

    def _check_artifact_root(self) -> None:
        """Refuse a store that was moved: MLflow would write artifacts where it used to stand."""
        if self.artifact_root is None:
            return
        with refusals(self.uri):
            location = str(self.client.get_experiment(self.experiment_id).artifact_location)
        recorded = local_folder(location)
        if recorded is None:
            return
        if not recorded.exists() and recorded != self.artifact_root:
            raise StoreError(
                f"Experiment {self.experiment!r} of {self.shown} keeps its artifacts in "
                f"{recorded}, which is gone: the store was moved. Expected them in "
                f"{self.artifact_root}. "
                f"Move it back, or begin another experiment: --set tracking.experiment=NAME"
            )
        if recorded.exists() and not os.access(recorded, os.W_OK):
            raise StoreError(
                f"The artifact folder {recorded} is read-only. Expected one that can be written "
                f"to. Change its permissions and run the command again."
            )


def tracking_uri(tracking: Tracking, environ: Mapping[str, str] | None = None) -> str:
    """The store's URI: `MLFLOW_TRACKING_URI`, else the settings, else `DEFAULT_URI`; absolute."""
    environ = os.environ if environ is None else environ
    uri = environ.get("MLFLOW_TRACKING_URI") or tracking.uri or DEFAULT_URI
    path = uri.removeprefix(SQLITE)
    if uri.startswith(SQLITE) and path and not path.startswith((":memory:", "file:")):
        return SQLITE + str(Path(path).absolute())
    return uri


def open_store(
    tracking: Tracking,
    environ: Mapping[str, str] | None = None,
    *,
    write: bool = True,
    unfinished: bool = False,
) -> Store:
    """Open the project's store; the first time, make its database and experiment.

    Args:
        tracking: The settings' section.
        environ: Environment variables; None is the process's own. `MLFLOW_TRACKING_URI` and
            `MLFLOW_EXPERIMENT_NAME` go before the settings.
        write: False opens what there is, on a read-only disk too, and makes nothing.
        unfinished: Whether to open a store of which ids are being forgotten, to finish that.

    Raises:
        NoStoreYetError: `write` is False and there is no database yet.
        StoreError: The store is read-only, locked, broken, of an older schema or out of reach, or
            ids are being forgotten in it.
    """
    environ = os.environ if environ is None else environ
    uri = tracking_uri(tracking, environ)
    experiment = environ.get("MLFLOW_EXPERIMENT_NAME") or tracking.experiment
    database = database_path(uri)
    root = None if database is None else database.parent / "artifacts"
    with refusals(uri), ExitStack() as stack:
        if database is not None:
            check_database(database, write=write)
            if not unfinished:
                check_finished(database)
            stack.enter_context(alone(database))
            if write:
                remove_unfinished(database)
            if not database.exists():
                make_database(database)
        else:
            check_reached(uri)
        client = mlflow_client(uri if write else reading_uri(uri))
        experiment_id = _experiment_id(client, uri, experiment)
        if experiment_id is None and write:
            experiment_id = _new_experiment(client, uri, experiment, root)
    return Store(uri, client, experiment, experiment_id, root, write)


def _experiment_id(client: MlflowClient, uri: str, name: str) -> str | None:
    found = client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise StoreError(
            f"The experiment {name!r} of {without_password(uri)} was deleted. Expected an active "
            f"one. Restore it, or choose another: --set tracking.experiment=NAME"
        )
    return str(found.experiment_id)


def _new_experiment(client: MlflowClient, uri: str, name: str, root: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
    try:
        location = None if root is None else str(root)
        tags = experiment_tags()
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    except MlflowException:
        # On a server another process may have been quicker.
        if (found := _experiment_id(client, uri, name)) is not None:
            return found
        raise
