"""Files are whole or absent, and what is read is checked."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.errors import ArtifactError, StoreError
from lorarec.storage import (
    atomic_dir,
    atomic_path,
    read_json,
    read_tensors,
    remove_beside,
    sha256_bytes,
    sha256_file,
    write_json,
    write_tensors,
)

Room = Callable[[int], AbstractContextManager[None]]


def names(folder: Path) -> list[str]:
    """What is in a folder, temporary files included."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_its_folder_made(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a" / "file.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "a" / "file.txt").exists()
    assert (tmp_path / "a" / "file.txt").read_text() == "whole"
    assert names(tmp_path / "a") == ["file.txt"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, room_for: Room) -> None:
    with pytest.raises(StoreError, match=r"Could not write .*numbers"), room_for(10_000):
        write_tensors(tmp_path / "numbers.safetensors", {"x": np.zeros(100_000)})
    assert names(tmp_path) == []


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="the file system is read-only"),
        atomic_path(tmp_path / "file"),
    ):
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "base") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
        assert not (tmp_path / "base").exists()
    assert (tmp_path / "base" / "inner" / "file").read_text() == "x"
    assert names(tmp_path) == ["base"]


def test_an_interrupted_folder_is_gone(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_dir(tmp_path / "base") as folder:
            (folder / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_a_folder_with_content_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "precious").write_text("x")
    with pytest.raises(StoreError, match="not empty"), atomic_dir(tmp_path / "base"):
        pass
    assert (tmp_path / "base" / "precious").exists()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_broken_or_missing_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.json is missing"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a": ')
    with pytest.raises(ArtifactError, match=r"cut\.json is not JSON"):
        read_json(tmp_path / "cut.json")


def test_tensors_come_back_with_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1, 2])}
    digest = write_tensors(path, tensors, {"kind": "test"})
    assert digest == sha256_file(path)
    found = read_tensors(path, digest)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_an_edited_or_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    digest = write_tensors(path, {"a": np.zeros(100, dtype=np.float32)})
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    with pytest.raises(ArtifactError, match="truncated or edited"):
        read_tensors(path, digest)
    with pytest.raises(ArtifactError, match="not a whole safetensors file"):
        read_tensors(path)
    with pytest.raises(ArtifactError, match="is missing"):
        read_tensors(tmp_path / "none.safetensors")


def test_digests_of_parts_keep_their_borders() -> None:
    assert sha256_bytes(b"ab", b"c") != sha256_bytes(b"a", b"bc")


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1)])
def test_a_tensor_keeps_its_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_tensors(tmp_path / "a.safetensors", {"a": np.zeros(shape, np.float32)})
    assert read_tensors(tmp_path / "a.safetensors")["a"].shape == shape


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.json.0123abcd.tmp", "a.json", ".b.json.0123abcd.tmp"):
        (tmp_path / name).touch()
    remove_beside(tmp_path / "a.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.json.0123abcd.tmp", "a.json"]
