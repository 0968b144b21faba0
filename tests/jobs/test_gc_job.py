"""What `gc` removes, what it never touches, and what it finishes after it was killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import RunTag
from world import World

from lorarec.errors import ConfigError, NotFoundError
from lorarec.jobs import gc as module
from lorarec.jobs.derive_adapter import Asked, truncate_adapter
from lorarec.jobs.gc import Collected, gc
from lorarec.jobs.promote import promote
from lorarec.jobs.recommend import prepare
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import find_run
from lorarec.tracking.versions import find_version, versions

YES: dict[str, Any] = {"gate.min_effect": -1.0}


def names(found: Collected, what: str) -> set[str]:
    return {each.name for each in found.removed if each.what == what}


def twin(world: World, of: str, tags: dict[str, str] | None = None) -> str:
    """Another run with the artifact of one, younger than it: an adapter without a training."""
    info = world.run(of)
    given = {**info.tags, **(tags or {})}
    made = world.store.client.create_run(str(world.store.experiment_id), tags=given)
    shutil.copytree(world.artifacts(of), made.info.artifact_uri, dirs_exist_ok=True)
    world.store.client.set_terminated(made.info.run_id)
    return f"runs:/{made.info.run_id}"


def promoted(world: World, uri: str) -> str:
    """An adapter as the champion, whatever the gate says."""
    found = promote(world.settings.with_options(YES), "books", world.store, uri, force="test")
    return found.version.uri


def is_there(world: World, uri: str) -> bool:
    try:
        world.run(uri)
    except NotFoundError:
        return False
    return world.artifacts(uri).is_dir()


def test_a_dry_run_touches_nothing(world: World) -> None:
    twin(world, world.adapter)
    found = gc(world.store, 1)
    assert found.dry_run
    assert names(found, "adapter") == {world.adapter}
    assert found.bytes > 1000
    assert is_there(world, world.adapter)
    assert gc(world.store, 1) == found


def test_the_newest_adapters_of_each_domain_stay(world: World) -> None:
    newer = twin(world, world.adapter)
    newest = twin(world, world.adapter)
    found = gc(world.store, 2, dry_run=False)
    assert names(found, "adapter") == {world.adapter}
    assert not is_there(world, world.adapter)
    assert is_there(world, newer)
    assert is_there(world, newest)
    assert is_there(world, world.other_adapter), "the only one of its domain"
    assert gc(world.store, 2, dry_run=False).removed == []


def test_aliases_and_the_way_back_stay_and_old_versions_go(world: World) -> None:
    uris = [world.adapter, *(world.adapt("books", {"train.seed": s}).run for s in (1, 2, 3))]
    numbers = [promoted(world, uri) for uri in uris]
    twin(world, uris[-1])
    world.store.client.set_registered_model_alias("lorarec-books", "canary", "1")
    found = gc(world.store, 1, dry_run=False)
    assert names(found, "version") == {numbers[1]}
    kept = {each.name: each.why for each in found.kept}
    assert kept[numbers[0]] == "canary"
    assert kept[numbers[2]] == "a rollback would go back to it"
    assert [version.number for version in versions(world.store, "lorarec-books")] == [1, 3, 4]
    assert names(found, "adapter") == {uris[1]}
    assert not is_there(world, uris[1])
    assert find_version(world.store, "models:/lorarec-books@champion").uri == numbers[3]
    prepare("books", world.store, adapter="models:/lorarec-books@champion")


def test_the_parent_of_an_adapter_that_stays_stays(world: World) -> None:
    truncate_adapter(world.settings, world.store, world.adapter, 1, Asked())
    twin(world, world.adapter)
    found = gc(world.store, 1)
    assert found.removed == []
    assert any(each.name == world.adapter and "a parent of" in each.why for each in found.kept)


def test_what_a_sweep_passed_over_goes_and_not_while_it_runs(world: World) -> None:
    client = world.store.client
    sweep = client.create_run(str(world.store.experiment_id), tags={"lorarec.kind": "sweep"})
    parent = {"mlflow.parentRunId": sweep.info.run_id}
    loser = twin(world, world.adapter, {"lorarec.chosen": "no", **parent})
    assert names(gc(world.store, 5), "adapter") == set()
    client.set_terminated(sweep.info.run_id)
    assert names(gc(world.store, 5), "adapter") == {loser}


def test_what_a_run_in_progress_is_of_stays(world: World) -> None:
    tags = {"lorarec.adapter_digest": world.run(world.adapter).tag("adapter_digest")}
    world.adapt("books", {"train.seed": 1})
    assert names(gc(world.store, 1), "adapter") == {world.adapter}
    with world.store.run("gate-books", "gate", tags=tags):
        assert names(gc(world.store, 1), "adapter") == set()


def test_an_index_holds_its_adapter(world: World, tmp_path: Path) -> None:
    from lorarec.jobs.index_domain import build_index

    ready = prepare("books", world.store, adapter=world.adapter)
    build_index(ready, tmp_path / "index", "Flat", k=5)
    newer = world.adapt("books", {"train.seed": 1}).run
    assert names(gc(world.store, 1), "adapter") == {world.adapter}
    assert gc(world.store, 1, indexes=[tmp_path / "index"]).removed == []
    assert is_there(world, newer)
    with pytest.raises(NotFoundError, match="no index"):
        gc(world.store, 1, indexes=[tmp_path])


def test_a_base_goes_when_its_last_adapter_has(world: World) -> None:
    found = gc(world.store, 1)
    assert [each.name for each in found.kept if each.what == "base"] == [world.other_base]
    with pytest.raises(ConfigError, match=f"in use: adapt {world.other_adapter}"):
        gc(world.store, 1, bases=[world.other_base])
    assert is_there(world, world.other_base)
    world.store.client.delete_run(world.other_adapter.removeprefix("runs:/"))
    found = gc(world.store, 1, dry_run=False)
    assert names(found, "base") == {world.other_base}
    assert not is_there(world, world.other_base)
    assert is_there(world, world.base)


def test_a_new_base_goes_only_when_it_is_named(world: World) -> None:
    assert names(gc(world.store, 2), "base") == set()
    world.store.client.delete_run(world.other_adapter.removeprefix("runs:/"))
    assert names(gc(world.store, 2, bases=[world.other_base]), "base") == {world.other_base}


def test_an_adapter_of_another_project_holds_its_base(world: World) -> None:
    client = world.store.client
    info = world.run(world.other_adapter)
    other = client.create_experiment("elsewhere")
    made = client.create_run(other, tags=info.tags)
    client.set_terminated(made.info.run_id)
    client.delete_run(info.run_id)
    with pytest.raises(ConfigError, match="of elsewhere"):
        gc(world.store, 1, bases=[world.other_base])
    found = gc(world.store, 1, dry_run=False)
    assert names(found, "base") == set()
    assert client.get_run(made.info.run_id).info.lifecycle_stage == "active"


@pytest.mark.parametrize("place", ["marked", "deleted", "half of its files gone"])
def test_what_was_broken_off_is_finished(world: World, place: str) -> None:
    twin(world, world.adapter)
    run_id = world.adapter.removeprefix("runs:/")
    client = world.store.client
    client.log_batch(run_id, tags=[RunTag("lorarec.collected", "2026-01-01")])
    if place != "marked":
        client.delete_run(run_id)
    if place.startswith("half"):
        (world.artifacts(world.adapter) / "adapter" / "adapter.json").unlink()
    found = gc(world.store, 1, dry_run=False)
    assert names(found, "adapter") == {world.adapter}
    assert not world.artifacts(world.adapter).parent.exists()
    assert gc(world.store, 1, dry_run=False).removed == []


def test_killed_between_two_removals_the_next_call_finishes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle = twin(world, world.adapter)
    twin(world, world.adapter)
    whole = module.remove_run
    done: list[RunInfo] = []

    def killed(store: Any, info: RunInfo) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(info)
        whole(store, info)

    monkeypatch.setattr(module, "remove_run", killed)
    with pytest.raises(KeyboardInterrupt):
        gc(world.store, 1, dry_run=False)
    monkeypatch.setattr(module, "remove_run", whole)
    gc(world.store, 1, dry_run=False)
    assert not is_there(world, world.adapter)
    assert not is_there(world, middle)


def test_a_run_that_a_person_deleted_can_still_be_restored(world: World) -> None:
    run_id = world.adapter.removeprefix("runs:/")
    world.store.client.delete_run(run_id)
    gc(world.store, 1, dry_run=False)
    world.store.client.restore_run(run_id)
    assert find_run(world.store, run_id).status == "FINISHED"
    prepare("books", world.store, adapter=world.adapter)


def test_leftovers_go_and_those_of_a_running_process_stay(world: World) -> None:
    orphan = world.folder / "mlruns" / "artifacts" / ("a" * 32)
    orphan.mkdir()
    (orphan / "half").write_text("written")
    half = world.artifacts(world.adapter) / ".adapter.12345678.tmp"
    half.mkdir()
    with world.store.run("x", "adapt") as run:
        working = world.artifacts(run.uri) / ".adapter.12345678.tmp"
        working.mkdir(parents=True)
        found = gc(world.store, 1, dry_run=False)
        assert working.is_dir()
    assert names(found, "leftover") == {str(half)}
    assert orphan.is_dir(), "of another store, or of a newer state of this one"
    other = world.folder / "mlruns" / "other.db"
    other.touch()
    with pytest.raises(ConfigError, match=r"other\.db"):
        gc(world.store, 1, dry_run=False, unknown=True)
    other.unlink()
    assert str(orphan) in names(gc(world.store, 1, dry_run=False, unknown=True), "leftover")
    assert not orphan.exists()
    assert not half.exists()
    assert is_there(world, world.adapter)


def test_nothing_is_not_kept(world: World) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        gc(world.store, 0)
