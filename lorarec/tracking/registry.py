"""Finding what was recorded: the newest base, a domain's adapter, whatever a URI points at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.errors import ArtifactError, NotFoundError, StoreError, did_you_mean
from lorarec.storage import read_json
from lorarec.tracking.info import RunInfo, run_info
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import PARENT, TAG, local_folder
from lorarec.tracking.versions import Version, find_version

if TYPE_CHECKING:
    from lorarec.tracking.store import Store

__all__ = [
    "RunInfo",
    "find_run",
    "finished",
    "nested_runs",
    "newest",
    "newest_adapter",
    "newest_base",
    "recent_runs",
    "resolve",
    "running_runs",
    "runs_of",
]

PAGE = 200
BASE_KINDS = ("pretrain", "import")
"""Runs that have a base."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_QUOTABLE = re.compile(r"[\w.:/ -]*")
_NAMES = {"source": "base"}
_NEXT = {
    "base": "Make one with: lorarec pretrain --data PATH",
    "adapter": "Make one with: lorarec adapt --domain D --rank 8",
}


def newest(store: Store, kind: str, **tags: str | None) -> RunInfo | None:
    """The finished run of `kind` that began last.

    Args:
        store: Where to look.
        kind: One of `runs.KINDS`.
        **tags: Standard tags that it must have, such as `domain="books"`, `base_digest=...`;
            None asks for nothing.

    Returns:
        The run, or None where there is none.

    Raises:
        StoreError: The store refused.
    """
    quotable = all(_QUOTABLE.fullmatch(value) for value in tags.values() if value is not None)
    return next(finished(store, [kind], page=1 if quotable else PAGE, **tags), None)


def finished(
    store: Store, kinds: Sequence[str], page: int = PAGE, **tags: str | None
) -> Iterator[RunInfo]:
    """Finished runs of some kinds, the one that began last first.

    Args:
        store: Where to look.
        kinds: Some of `runs.KINDS`.
        page: Runs that are asked for at once.
        **tags: As for `newest`.

    Raises:
        StoreError: The store refused.
    """
    wanted = {name: value for name, value in tags.items() if value is not None}
    one = f"= '{kinds[0]}'" if len(kinds) == 1 else "!= ''"
    clauses = ["attributes.status = 'FINISHED'", f"tags.`{TAG}kind` {one}"] + [
        f"tags.`{TAG}{name}` = '{value}'"
        for name, value in wanted.items()
        if _QUOTABLE.fullmatch(value)
    ]
    for info in _search(store, " and ".join(clauses), page):
        if info.kind in kinds and all(info.tag(name) == value for name, value in wanted.items()):
            yield info


def newest_adapter(store: Store, **tags: str | None) -> RunInfo | None:
    """The finished `adapt` that began last; of a sweep over ranks only the one that it chose.

    Args:
        store: Where to look.
        **tags: As for `newest`.

    Raises:
        StoreError: The store refused.
    """
    found = finished(store, ["adapt"], page=20, **tags)
    return next((info for info in found if not info.passed_over), None)


def newest_base(store: Store, **tags: str | None) -> RunInfo | None:
    """The finished run that made a base, trained or imported, and began last; as `newest`."""
    found = [newest(store, kind, **tags) for kind in BASE_KINDS]
    return max((info for info in found if info), key=lambda info: info.started, default=None)


def runs_of(store: Store, kind: str) -> Iterator[RunInfo]:
    """The runs of `kind`, newest first, whatever became of them.

    Raises:
        StoreError: The store refused.
    """
    return _search(store, f"tags.`{TAG}kind` = '{kind}'", PAGE)


def running_runs(store: Store) -> list[RunInfo]:
    """The runs of the experiment that are recorded as running, of all kinds, newest first.

    Raises:
        StoreError: The store refused.
    """
    return list(_search(store, f"attributes.status = 'RUNNING' and tags.`{TAG}kind` != ''", PAGE))


def nested_runs(store: Store, run_id: str) -> list[RunInfo]:
    """The runs that are a part of a run, in the order they began, whatever became of them.

    Raises:
        StoreError: The store refused.
    """
    return list(_search(store, f"tags.`{PARENT}` = '{run_id}'", PAGE))[::-1]


def recent_runs(store: Store, limit: int = 20) -> list[RunInfo]:
    """The project's runs, newest first, whatever became of them.

    A search is without its trials, and a sweep over ranks with none but the one that it chose.

    Raises:
        StoreError: The store refused.
    """
    query = f"tags.`{TAG}kind` != '' and tags.`{TAG}kind` != 'trial'"
    runs: list[RunInfo] = []
    for info in _search(store, query, page=min(limit, PAGE)):
        if info.passed_over:
            continue
        runs.append(info)
        if len(runs) >= limit:
            break
    return runs


def find_run(store: Store, run_id: str) -> RunInfo:
    """One run by its id.

    Raises:
        NotFoundError: There is none in this store, or it was deleted.
        StoreError: The store refused.
    """
    from mlflow.exceptions import MlflowException

    with refusals(store.uri):
        try:
            run = store.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            known = [info.run_id for info in recent_runs(store, PAGE)]
            close = did_you_mean(run_id, known) if known else ""
            raise NotFoundError(
                f"There is no run {run_id!r} in {store.shown}.{close} See: lorarec runs"
            ) from error
    if run.info.lifecycle_stage != "active":
        raise NotFoundError(
            f"The run {run_id} was deleted. Expected an active one. See: lorarec runs"
        )
    return run_info(run)


def resolve(store: Store, uri: str, kind: str) -> tuple[Path, RunInfo | None]:
    """The folder of a base or an adapter that the user named; nothing local is copied.

    Args:
        store: Where runs and registered models are looked up.
        uri: `runs:/<run id>`, `runs:/<run id>/base`, a run id of 32 hex digits, a local folder,
            `models:/<name>/<version>` or `models:/<name>@<alias>`.
        kind: `base` or `adapter`: the artifact that a run without a path stands for. `source`
            stands for `base` too, and takes any other artifact, a file as well, by its path.

    Returns:
        The folder or file, and the run that made it (None for a local folder).

    Raises:
        NotFoundError: Nothing is there, or the run of a version was deleted.
        ArtifactError: What a registered version names has another digest than when it was
            registered.
        StoreError: The store refused.
    """
    uri = uri.strip()
    if uri.startswith("models:/"):
        return _from_model(store, uri, kind)
    run_id, _, path = uri.removeprefix("runs:/").strip("/").partition("/")
    if uri.startswith("runs:/") or _RUN_ID.fullmatch(uri):
        info = find_run(store, run_id)
        return _artifact(store, info, path or _NAMES.get(kind, kind), kind), info
    return _folder(Path(uri.removeprefix("file://")).expanduser(), uri, kind), None


def _search(store: Store, query: str, page: int) -> Iterator[RunInfo]:
    """Runs of the project's experiment that fit a filter, newest first, page by page."""
    if store.experiment_id is None:
        return
    token = None
    while True:
        with refusals(store.uri):
            found = store.client.search_runs(
                [store.experiment_id],
                filter_string=query,
                max_results=page,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
        yield from (run_info(run) for run in found)
        token = found.token
        if not token:
            return


def _folder(path: Path, uri: str, kind: str) -> Path:
    if path.is_dir():
        inner = path / kind
        return inner if inner.is_dir() and not (path / f"{kind}.json").exists() else path
    raise NotFoundError(
        f"There is no {kind} at {uri!r}. Expected runs:/RUN_ID, a run id of 32 hex digits, a "
        f"folder, or models:/NAME@ALIAS. See: lorarec runs. {_NEXT.get(kind, '')}".rstrip()
    )


def _artifact(store: Store, info: RunInfo, path: str, kind: str) -> Path:
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise NotFoundError(f"{path!r} leads out of the run {info.run_id}. Expected {kind!r}.")
    local = local_folder(info.artifact_uri)
    if local is not None:
        # Beside the store first: it may have been moved since, or be a copy of the one at `local`.
        beside = store.artifact_root and store.artifact_root / info.run_id / "artifacts"
        for folder in (beside, local):
            if folder and _is_there(folder / path, kind):
                return folder / path
        raise _missing(info, path, kind)
    return _downloaded(store, info, path, kind)


def _is_there(path: Path, kind: str) -> bool:
    return path.is_dir() or (kind == "source" and path.is_file())


def _downloaded(store: Store, info: RunInfo, path: str, kind: str) -> Path:
    with refusals(store.uri):
        parent = Path(path).parent.as_posix()
        beside = store.client.list_artifacts(info.run_id, None if parent == "." else parent)
        is_folder = {entry.path: entry.is_dir for entry in beside}.get(path)
        if is_folder is None or not (is_folder or kind == "source"):
            raise _missing(info, path, kind)
        return Path(store.client.download_artifacts(info.run_id, path))


def _missing(info: RunInfo, path: str, kind: str) -> NotFoundError:
    return NotFoundError(
        f"The run {info.run_id} ({info.kind} {info.name}, {info.status}) has no artifact "
        f"{path!r}. Expected a run that finished with one. See: lorarec runs. "
        f"{_NEXT.get(kind, '')}".rstrip()
    )


def _from_model(store: Store, uri: str, kind: str) -> tuple[Path, RunInfo | None]:
    version = find_version(store, uri)
    info = None if version.run_id is None else _run_of(store, version, uri)
    folder = _folder_of(store, version, info, uri, kind)
    _check_digest(folder, version, uri, _NAMES.get(kind, kind))
    return folder, info


def _run_of(store: Store, version: Version, uri: str) -> RunInfo:
    """The run of a version; one that was deleted can be had back, and that is said."""
    try:
        return find_run(store, str(version.run_id))
    except NotFoundError as error:
        raise NotFoundError(
            f"{uri} is of the run {version.run_id}, which was deleted or is not in {store.shown}. "
            f"Expected it there. Where it was deleted: mlflow runs restore --run-id "
            f"{version.run_id}; or take another version, see: lorarec history --domain "
            f"{version.tag('domain') or 'D'}"
        ) from error


def _folder_of(store: Store, version: Version, info: RunInfo | None, uri: str, kind: str) -> Path:
    """Where the artifact of a version is; that of a run is looked up as the run's."""
    source = version.source
    if source.startswith("runs:/"):
        return resolve(store, source, kind)[0]
    within = f"{info.artifact_uri.rstrip('/')}/" if info else None
    if info is not None and within is not None and source.startswith(within):
        return _artifact(store, info, source.removeprefix(within), kind)
    local = local_folder(source)
    return _fetched(store, source, uri) if local is None else _folder(local, uri, kind)


def _check_digest(folder: Path, version: Version, uri: str, kind: str) -> None:
    """Refuse an artifact that is another than the one that was registered."""
    registered, record = version.tag("digest"), folder / f"{kind}.json"
    if registered is None or not record.is_file():
        return
    found = read_json(record)
    digest = found.get("digest") if isinstance(found, dict) else None
    if digest != registered:
        domain = version.tag("domain")
        other = f", or take another version: lorarec rollback --domain {domain}" if domain else ""
        raise ArtifactError(
            f"The {kind} of {uri} in {folder} has digest {str(digest)[:12]}, and digest "
            f"{registered[:12]} was registered. It was edited or replaced since. Get it again from "
            f"a backup{other}"
        )


def _fetched(store: Store, source: str, uri: str) -> Path:
    from mlflow.artifacts import download_artifacts

    with refusals(store.uri):
        try:
            return Path(download_artifacts(artifact_uri=source, tracking_uri=store.uri))
        except FileNotFoundError as error:
            raise StoreError(f"{uri} points at {source}, which is gone. See: lorarec ui") from error
