"""All of a store, whoever's project it is: for what must reach every run and every version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorarec.tracking.info import RunInfo, run_info
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import TAG
from lorarec.tracking.versions import PAGE, Version, plain

if TYPE_CHECKING:
    from lorarec.tracking.store import Store


@dataclass(frozen=True)
class AnyRun:
    """A run of lorarec's, of any project."""

    info: RunInfo
    deleted: bool
    """Whether it was deleted and could be restored."""


def all_runs(store: Store) -> Iterator[AnyRun]:
    """Every run of the store that lorarec made, deleted ones too.

    Raises:
        StoreError: The store refused.
    """
    from mlflow.entities import ViewType

    with refusals(store.uri):
        experiments = store.client.search_experiments(view_type=ViewType.ALL)
    token = None
    while experiments:
        with refusals(store.uri):
            page = store.client.search_runs(
                [experiment.experiment_id for experiment in experiments],
                filter_string=f"tags.`{TAG}kind` != ''",
                run_view_type=ViewType.ALL,
                max_results=PAGE,
                page_token=token,
            )
        for run in page:
            yield AnyRun(run_info(run), run.info.lifecycle_stage != "active")
        token = page.token
        if not token:
            return


def all_versions(store: Store) -> Iterator[Version]:
    """Every version of every registered model.

    Raises:
        StoreError: The store refused.
    """
    token = None
    while True:
        with refusals(store.uri):
            page = store.client.search_model_versions("", max_results=PAGE, page_token=token)
        yield from map(plain, page)
        token = page.token
        if not token:
            return
