from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lorarec.data.public.archive import GIB, find_files, names_in
from lorarec.data.public.layout import Converted, Found, Layout
from lorarec.errors import DataError, StoreError


def _nothing(*_: object) -> Converted:
    raise AssertionError


LAYOUT = Layout({"logs": r"(?P<market>[a-z]\d)/a\.csv", "more": r"b\.csv"}, (), "", _nothing)


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., dict[str, list[Found]]]:
    """`find(path)`: what is found there, unpacked to `scratch`."""

    def make(
        path: Path, keep: Callable[[dict[str, str]], bool] = lambda _: True, limit: int = GIB
    ) -> dict[str, list[Found]]:
        return find_files([(path.name, path)], LAYOUT, keep, tmp_path / "scratch", limit)

    return make


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    def make(members: dict[str, str]) -> Path:
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for name, text in members.items():
                packed.writestr(name, text)
        return tmp_path / "x.zip"

    return make


@pytest.fixture
def taped(tmp_path: Path) -> Callable[..., Path]:
    def make(members: dict[str, str], kind: bytes = tarfile.REGTYPE) -> Path:
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tape:
            for name, text in members.items():
                member = tarfile.TarInfo(name)
                member.size, member.type = len(text), kind
                member.linkname = "/etc/passwd"
                tape.addfile(member, io.BytesIO(text.encode()))
        return tmp_path / "x.tar.gz"

    return make


@pytest.mark.parametrize("kind", ["zipped", "taped"])
def test_wanted_members_and_no_others_are_read(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    find: Callable[..., dict[str, list[Found]]],
) -> None:
    path = request.getfixturevalue(kind)({"top/t1/a.csv": "1", "top/run.py": "2", "b.csv": "3"})
    found = find(path)
    assert [(f.name, f.words, f.path.read_text()) for f in found["logs"]] == [
        ("top/t1/a.csv", {"market": "t1"}, "1")
    ]
    assert [f.path.read_text() for f in found["more"]] == ["3"]
    assert len([f for f in (tmp_path / "scratch").rglob("*") if f.is_file()]) == 2


@pytest.mark.parametrize("kind", ["zipped", "taped"])
@pytest.mark.parametrize(
    "name", ["../b.csv", "/tmp/b.csv", "t/../../b.csv", "..\\b.csv", "C:\\b.csv"]
)
def test_a_member_that_would_leave_the_folder_is_refused(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    name: str,
    find: Callable[..., object],
) -> None:
    path = request.getfixturevalue(kind)({name: "1"})
    with pytest.raises(DataError, match="outside of its folder"):
        find(path)
    assert list(tmp_path.rglob("b.csv")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(
    taped: Callable[..., Path], find: Callable[..., object], kind: bytes
) -> None:
    with pytest.raises(DataError, match="a link or a device"):
        find(taped({"b.csv": ""}, kind))


@pytest.mark.parametrize("kind", ["zipped", "taped"])
def test_more_than_the_limit_is_not_unpacked(
    request: pytest.FixtureRequest, kind: str, find: Callable[..., object]
) -> None:
    path = request.getfixturevalue(kind)({"b.csv": "0" * 3_000_000})
    with pytest.raises(DataError, match=r"more than .* GiB unpacked"):
        find(path, limit=1_000_000)


@pytest.mark.parametrize("kind", ["zipped", "taped"])
def test_a_truncated_archive_is_told(
    request: pytest.FixtureRequest, kind: str, find: Callable[..., object]
) -> None:
    text = "".join(f"{i * 7919}\n" for i in range(20_000))
    path = request.getfixturevalue(kind)({"b.csv": text})
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DataError, match="not a whole archive"):
        find(path)


def test_a_damaged_member_is_told(zipped: Callable[..., Path], find: Callable[..., object]) -> None:
    path = zipped({"b.csv": "".join(f"{i * 7919}\n" for i in range(20_000))})
    body = bytearray(path.read_bytes())
    body[5000:5100] = bytes(100)
    path.write_bytes(bytes(body))
    with pytest.raises(DataError, match="not a whole archive"):
        find(path)


def test_an_encrypted_member_is_told(
    zipped: Callable[..., Path], find: Callable[..., object]
) -> None:
    path = zipped({"b.csv": "1"})
    body = bytearray(path.read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(body))
    with pytest.raises(DataError, match="is encrypted"):
        find(path)


def test_a_folder_is_searched_through(
    write: Callable[..., Path], find: Callable[..., dict[str, list[Found]]]
) -> None:
    write("deep/t1/a.csv", "1")
    found = find(write("deep/t2/a.csv", "2"))
    assert [f.words["market"] for f in found["logs"]] == ["t1", "t2"]


def test_the_folder_itself_may_be_the_market(
    write: Callable[..., Path], find: Callable[..., dict[str, list[Found]]]
) -> None:
    folder = write("t1/a.csv", "1") / "t1"
    assert [f.words["market"] for f in find(folder)["logs"]] == ["t1"]


def test_what_lies_unpacked_goes_before_what_is_packed(
    write: Callable[..., Path],
    zipped: Callable[..., Path],
    find: Callable[..., dict[str, list[Found]]],
) -> None:
    write("b.csv.gz", gzip.compress(b"packed"))
    write("x.zip", zipped({"b.csv": "packed"}).read_bytes())
    folder = write("b.csv", "plain")
    assert [f.path.read_text() for f in find(folder)["more"]] == ["plain"]
    (folder / "b.csv").unlink()
    assert [f.path.read_text() for f in find(folder)["more"]] == ["packed"]


def test_an_archive_in_a_folder_is_opened_where_there_is_nothing_else(
    write: Callable[..., Path],
    zipped: Callable[..., Path],
    find: Callable[..., dict[str, list[Found]]],
) -> None:
    folder = write("x.zip", zipped({"b.csv": "packed"}).read_bytes())
    assert [f.path.read_text() for f in find(folder)["more"]] == ["packed"]


def test_two_files_that_are_the_same_are_refused(
    write: Callable[..., Path], find: Callable[..., object]
) -> None:
    write("one/t1/a.csv", "1")
    with pytest.raises(DataError, match=r"one/t1/a\.csv and .*two/t1/a\.csv"):
        find(write("two/t1/a.csv", "1"))


def test_what_is_not_wanted_is_not_unpacked(
    zipped: Callable[..., Path], find: Callable[..., dict[str, list[Found]]], tmp_path: Path
) -> None:
    path = zipped({"t1/a.csv": "1", "t2/a.csv": "2"})
    found = find(path, keep=lambda words: words.get("market") == "t2")
    assert [f.name for f in found["logs"]] == ["t2/a.csv"]
    assert len([f for f in (tmp_path / "scratch").rglob("*") if f.is_file()]) == 1


def test_a_truncated_gz_is_told(write: Callable[..., Path], find: Callable[..., object]) -> None:
    text = "".join(f"{i * 7919}\n" for i in range(5000)).encode()
    folder = write("b.csv.gz", gzip.compress(text)[:-500])
    with pytest.raises(DataError, match="not a whole archive"):
        find(folder / "b.csv.gz")


def test_a_full_disk_is_not_a_damaged_archive(
    zipped: Callable[..., Path],
    find: Callable[..., object],
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    path = zipped({"b.csv": "0" * 3_000_000})
    with room_for(100_000), pytest.raises(StoreError, match="Could not write"):
        find(path)


def test_names_are_told_for_errors(
    write: Callable[..., Path], zipped: Callable[..., Path], taped: Callable[..., Path]
) -> None:
    members = {"t/b.csv": "1"}
    assert names_in(write("t/b.csv", "")) == ["t/b.csv"]
    assert names_in(zipped(members)) == names_in(taped(members)) == ["t/b.csv"]
