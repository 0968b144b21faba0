"""Finding the newest base or adapter, and whatever a URI points at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.errors import NotFoundError
from lorarec.tracking import (
    Store,
    find_run,
    newest,
    open_store,
    recent_runs,
    resolve,
    standard_tags,
)
from lorarec.tracking.registry import newest_adapter


def recorded(store: Store, kind: str, artifact: str | None = None, **tags: object) -> str:
    """The id of a finished run with an artifact."""
    with store.run(f"{kind}-x", kind, tags=standard_tags(**tags)) as run:
        if artifact:
            with run.artifact_folder(artifact) as folder:
                (folder / f"{artifact}.json").write_text("{}")
    return run.id


def test_nothing_is_newest_in_an_empty_store(store: Store) -> None:
    assert newest(store, "pretrain") is None
    assert recent_runs(store) == []


def test_the_newest_finished_run_of_a_kind(store: Store) -> None:
    recorded(store, "pretrain")
    last = recorded(store, "pretrain")
    recorded(store, "adapt", domain="books")
    with pytest.raises(ValueError, match="boom"), store.run("x", "pretrain"):
        raise ValueError("boom")
    found = newest(store, "pretrain")
    assert found is not None
    assert found.run_id == last


def test_an_adapter_is_of_its_domain_and_its_base(store: Store) -> None:
    wanted = recorded(store, "adapt", domain="books", base_digest="one")
    recorded(store, "adapt", domain="books", base_digest="two")
    recorded(store, "adapt", domain="music", base_digest="one")
    found = newest(store, "adapt", domain="books", base_digest="one")
    assert found is not None
    assert found.run_id == wanted
    assert newest(store, "adapt", domain="music", base_digest="two") is None


def test_of_adapters_that_are_compared_only_the_chosen_is_the_newest(store: Store) -> None:
    wanted = recorded(store, "adapt", domain="books", chosen="yes")
    for _ in range(25):  # more than are asked for at once
        recorded(store, "adapt", domain="books", chosen="no")
    found = newest_adapter(store, domain="books")
    assert found is not None
    assert found.run_id == wanted
    assert [run.run_id for run in recent_runs(store)] == [wanted]
    assert newest_adapter(store, domain="music") is None
    alone = recorded(store, "adapt", domain="books")
    assert (found := newest_adapter(store, domain="books")) is not None
    assert found.run_id == alone


def test_a_run_that_has_ended_can_be_tagged(store: Store) -> None:
    run_id = recorded(store, "adapt", chosen="no")
    ended = find_run(store, run_id).ended
    store.tag(run_id, standard_tags(chosen="yes"))
    found = find_run(store, run_id)
    assert (found.passed_over, found.status, found.ended) == (False, "FINISHED", ended)


@pytest.mark.parametrize("domain", ["men's wear", 'a "quoted" one', "back\\slash", "ünï %", "a`b"])
def test_any_domain_name_can_be_asked_for(store: Store, domain: str) -> None:
    wanted = recorded(store, "adapt", domain=domain)
    recorded(store, "adapt", domain="another")
    found = newest(store, "adapt", domain=domain)
    assert found is not None
    assert found.run_id == wanted
    assert newest(store, "adapt", domain=f"{domain}!") is None


def test_recent_runs_are_newest_first_and_limited(store: Store) -> None:
    ids = [recorded(store, "pretrain") for _ in range(3)]
    assert [info.run_id for info in recent_runs(store)] == ids[::-1]
    assert [info.run_id for info in recent_runs(store, limit=2)] == ids[:0:-1]


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({"valid_recall_at_20": 0.1, "test_recall_at_20": 0.2}, "test_recall_at_20"),
        ({"recall_at_10": 0.1, "recall_at_20": 0.2}, "recall_at_20"),
        ({"valid_recall_at_20": 0.1, "recall_at_10": 0.2}, "recall_at_10"),
        ({"popularity_recall_at_20": 0.1, "lora_recall_at_20": 0.2}, "lora_recall_at_20"),
        ({"loss": 0.1, "recall_min_at_20": 0.2}, None),
    ],
)
def test_the_recall_to_show(store: Store, metrics: dict[str, float], shown: str | None) -> None:
    with store.run("x", "evaluate") as run:
        run.log_metrics(metrics)
    found = find_run(store, run.id).recall
    assert (found[0] if found else None) == shown


def test_every_way_to_name_an_artifact(store: Store) -> None:
    run_id = recorded(store, "adapt", artifact="adapter", domain="books")
    folder = Path(find_run(store, run_id).artifact_uri) / "adapter"
    for uri in (run_id, f"runs:/{run_id}", f"runs:/{run_id}/adapter", f" runs:/{run_id}/ "):
        path, info = resolve(store, uri, "adapter")
        assert path == folder
        assert info is not None
        assert info.run_id == run_id
    assert resolve(store, str(folder), "adapter") == (folder, None)
    assert resolve(store, folder.as_uri(), "adapter") == (folder, None)
    assert resolve(store, str(folder.parent), "adapter") == (folder, None)


def test_registered_versions_and_aliases_lead_to_the_same_folder(store: Store) -> None:
    run_id = recorded(store, "adapt", artifact="adapter", domain="books")
    folder = Path(find_run(store, run_id).artifact_uri) / "adapter"
    store.client.create_registered_model("lorarec-books")
    store.client.create_model_version("lorarec-books", source=str(folder), run_id=run_id)
    store.client.set_registered_model_alias("lorarec-books", "champion", "1")
    for uri in ("models:/lorarec-books/1", "models:/lorarec-books@champion"):
        path, info = resolve(store, uri, "adapter")
        assert path == folder
        assert info is not None
        assert info.run_id == run_id


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("runs:/" + "0" * 32, "There is no run '0000"),
        ("0" * 32, "There is no run '0000"),
        ("runs:/x", "There is no run 'x'"),
        ("somewhere", "There is no adapter at 'somewhere'"),
        ("models:/lorarec-books@champion", "no registered model version"),
        ("models:/lorarec-books/7", "no registered model version"),
        ("models:/lorarec-books", "no registered model version"),
    ],
)
def test_what_is_not_there_is_said_with_a_next_command(store: Store, uri: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=said) as caught:
        resolve(store, uri, "adapter")
    assert "lorarec " in str(caught.value)


def test_a_mistyped_run_gets_the_nearest(store: Store) -> None:
    run_id = recorded(store, "pretrain")
    mistyped = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")
    with pytest.raises(NotFoundError, match=f"Did you mean '{run_id}'"):
        resolve(store, mistyped, "base")


def test_a_run_without_the_artifact_and_a_path_that_leads_out(store: Store) -> None:
    run_id = recorded(store, "pretrain", artifact="base")
    with pytest.raises(NotFoundError, match=r"pretrain-x, FINISHED\) has no artifact 'adapter'"):
        resolve(store, run_id, "adapter")
    with pytest.raises(NotFoundError, match="leads out"):
        resolve(store, f"runs:/{run_id}/../../../x", "base")


def test_a_deleted_run_is_not_found(store: Store) -> None:
    run_id = recorded(store, "pretrain", artifact="base")
    store.client.delete_run(run_id)
    assert newest(store, "pretrain") is None
    with pytest.raises(NotFoundError, match="was deleted"):
        resolve(store, run_id, "base")


def test_artifacts_are_found_after_the_project_moved(
    store: Store, project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded(store, "pretrain", artifact="base")
    (project / "elsewhere").mkdir()
    shutil.move(project / "mlruns", project / "elsewhere" / "mlruns")
    monkeypatch.chdir(project / "elsewhere")
    path, _ = resolve(open_store(settings.tracking, write=False), run_id, "base")
    assert path.is_relative_to(project / "elsewhere")
    assert (path / "base.json").exists()
