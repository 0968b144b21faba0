"""The arrangement of MLflow's page: in the store from the start, and for runs that are named."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from lorarec.config import Settings
from lorarec.errors import ConfigError, NotFoundError
from lorarec.tracking import Store, open_store
from lorarec.tracking.runs import MAX_TAG, PARENT
from lorarec.tracking.view import ADAPTERS, MOST, NOTE, SHARED, arranged_page


def experiment_tags(store: Store) -> dict[str, str]:
    return dict(store.client.get_experiment(store.experiment_id).tags)


def made(store: Store, name: str, parent: str | None = None) -> str:
    with store.run(name, "adapt", parent=parent) as run:
        pass
    return run.id


def shown(store: Store, page: str) -> str:
    """The search of the view that a page opens."""
    key = page.partition("viewStateShareKey=")[2].partition("&")[0]
    return str(json.loads(experiment_tags(store)[SHARED + key])["searchFilter"])


def test_a_new_experiment_is_arranged(store: Store) -> None:
    tags = experiment_tags(store)
    assert tags["mlflow.note.content"] == NOTE
    assert "'adapt'" in json.loads(tags[SHARED + ADAPTERS])["searchFilter"]
    assert arranged_page(store).endswith(
        f"/{store.experiment_id}/runs?viewStateShareKey=lorarec&compareRunsMode=CHART"
    )


def test_an_experiment_of_another_tool_is_arranged_and_its_note_stays(
    project: object, settings: Settings
) -> None:
    client = open_store(settings.tracking).client
    client.create_experiment("older", tags={"mlflow.note.content": "ours", SHARED + "x": "{}"})
    store = open_store(settings.with_options({"tracking.experiment": "older"}).tracking)
    assert shown(store, arranged_page(store)) == "tags.`lorarec.kind` = 'adapt'"
    tags = experiment_tags(store)
    assert (tags["mlflow.note.content"], tags[SHARED + "x"]) == ("ours", "{}")


def test_a_sweep_stands_for_the_runs_under_it(store: Store) -> None:
    with store.run("sweep-books", "sweep") as sweep:
        ranks = [made(store, f"adapt-books-r{rank}", sweep.id) for rank in (2, 4)]
    alone = made(store, "adapt-books-r8")
    found = shown(store, arranged_page(store, [sweep.uri]))
    assert all(rank in found for rank in ranks)
    assert sweep.id not in found
    found = shown(store, arranged_page(store, [sweep.id, f"runs:/{alone}"]))
    assert all(rank in found for rank in [*ranks, alone])


def test_as_many_runs_as_are_said_fit_a_tag(store: Store) -> None:
    with store.run("sweep-books", "sweep") as sweep:
        for _ in range(MOST):
            store.client.create_run(store.experiment_id, tags={PARENT: sweep.id})
    arranged_page(store, [sweep.id])
    assert max(map(len, experiment_tags(store).values())) < MAX_TAG
    with pytest.raises(ConfigError, match=f"Expected 2 to {MOST}"):
        arranged_page(store, [sweep.id, made(store, "one too many")])


def test_what_cannot_be_compared_is_said(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"1 runs are named.*such as a sweep"):
        arranged_page(store, [made(store, "alone")])
    with pytest.raises(NotFoundError, match="There is no run"):
        arranged_page(store, ["0" * 32])


def test_a_store_that_is_read_is_left_as_it_is(store: Store, settings: Settings) -> None:
    runs = [made(store, name) for name in ("one", "two")]
    before = experiment_tags(store)
    reading = open_store(settings.tracking, write=False)
    page = unquote(arranged_page(reading, runs))
    assert page == (
        f"#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([store.experiment_id])}"
    )
    assert arranged_page(reading).endswith("compareRunsMode=CHART")
    assert experiment_tags(store) == before
