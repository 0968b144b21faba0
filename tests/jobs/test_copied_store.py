"""A store that was copied with its folder: the copy's artifacts change, the original's never."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from world import World, store_in

from lorarec.data.forgotten import Forgotten
from lorarec.errors import StoreError
from lorarec.jobs.doctor import close_dead
from lorarec.jobs.forget import forget
from lorarec.jobs.gc import gc
from lorarec.tracking.registry import resolve
from lorarec.tracking.store import Store


def artifacts(folder: Path) -> dict[str, bytes]:
    root = folder / "mlruns" / "artifacts"
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture
def copy(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that somebody copied with cp -r."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    return folder


def unused(store: Store, world: World) -> None:
    """Let the adapter of books count as one that its sweep passed over."""
    store.tag(world.adapter.removeprefix("runs:/"), {"lorarec.chosen": "no"})


def test_gc_in_a_copy_removes_the_copys(world: World, copy: Path) -> None:
    before = artifacts(world.folder)
    store = store_in(copy)
    unused(store, world)
    found = gc(store, 1, dry_run=False)
    assert world.adapter in {each.name for each in found.removed}
    assert artifacts(world.folder) == before
    assert not any(world.adapter.removeprefix("runs:/") in name for name in artifacts(copy))


def test_forget_in_a_copy_changes_the_copys(world: World, copy: Path) -> None:
    before = artifacts(world.folder)
    assert artifacts(copy) == before
    forget(store_in(copy), Forgotten.of([str(world.frame["user_id"].mode()[0])]))
    assert artifacts(world.folder) == before
    assert artifacts(copy) != before


def test_a_copy_reads_its_own(world: World, copy: Path) -> None:
    assert resolve(store_in(copy), world.base, "base")[0].is_relative_to(copy)


def test_a_database_copied_without_its_artifacts_is_refused(world: World, copy: Path) -> None:
    shutil.rmtree(copy / "mlruns" / "artifacts")
    before = artifacts(world.folder)
    store = store_in(copy)
    unused(store, world)
    with pytest.raises(StoreError, match="outside of the store"):
        gc(store, 1, dry_run=False)
    with pytest.raises(StoreError, match="outside of the store"):
        forget(store, Forgotten.of(["u1"]))
    assert artifacts(world.folder) == before


def test_doctor_in_a_copy_clears_the_copys(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tags = {"lorarec.kind": "adapt"}
    made = world.store.client.create_run(str(world.store.experiment_id), tags=tags)
    half = Path("mlruns", "artifacts", made.info.run_id, "artifacts", ".base.12345678.tmp")
    (world.folder / half).mkdir(parents=True)
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    close_dead(store_in(folder), every=True)
    assert (world.folder / half).is_dir()
    assert not (folder / half).exists()


def test_forget_tells_of_what_may_be_another_stores(world: World) -> None:
    orphan = world.folder / "mlruns" / "artifacts" / ("a" * 32)
    orphan.mkdir()
    (world.folder / "mlruns" / "other.db").touch()
    found = forget(world.store, Forgotten.of(["u1"]))
    assert orphan.is_dir()
    assert any(str(orphan) in each for each in found.out_of_reach)
