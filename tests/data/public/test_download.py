from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from email.message import Message
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest
from file_server import FileServer

from lorarec.data.public.download import Patience, download
from lorarec.data.public.http import HttpError, _Redirects
from lorarec.data.public.record import RemoteFile
from lorarec.data.public.watch import Watcher
from lorarec.errors import DataError, NotFoundError, StoreError

BODY = bytes(range(256)) * 4096


def digest(kind: str, body: bytes = BODY) -> str:
    return f"{kind}:{hashlib.new(kind, body).hexdigest()}"


@pytest.fixture
def file(server: FileServer) -> RemoteFile:
    server.files["a.zip"] = BODY
    return RemoteFile(server.url("a.zip"), "a.zip")


def checked(file: RemoteFile, checksum: str) -> RemoteFile:
    return RemoteFile(file.url, file.name, checksum)


def begun(path: Path, file: RemoteFile, body: bytes, validator: str = "") -> None:
    """Leave what a download that was cut off leaves."""
    path.with_name(path.name + ".part").write_bytes(body)
    notes = {"url": file.url, "validator": validator}
    path.with_name(path.name + ".part.json").write_text(json.dumps(notes))


def etag(body: bytes = BODY) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def test_a_file_comes_whole_and_alone(file: RemoteFile, tmp_path: Path, patience: Patience) -> None:
    found = download(file, tmp_path / "new" / "a.zip", patience=patience)
    assert (tmp_path / "new" / "a.zip").read_bytes() == BODY
    assert found == hashlib.sha256(BODY).hexdigest()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.zip"]


def test_progress_counts_the_bytes_to_come(
    file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    began: list[tuple[str, int | None]] = []
    steps: list[int] = []
    watcher = Watcher(begin=lambda name, size: began.append((name, size)), step=steps.append)
    download(file, tmp_path / "a.zip", watcher=watcher, patience=patience)
    assert began == [("a.zip", len(BODY))]
    assert sum(steps) == len(BODY)


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_the_published_checksum_holds(
    file: RemoteFile, tmp_path: Path, patience: Patience, kind: str
) -> None:
    download(checked(file, digest(kind)), tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").exists()


def test_a_wrong_checksum_leaves_nothing(
    file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    with pytest.raises(DataError, match=r"has the MD5 .*, expected ") as error:
        download(checked(file, digest("md5", b"other")), tmp_path / "a.zip", patience=patience)
    assert digest("md5")[4:] in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_is_gone_on_from(
    server: FileServer,
    file: RemoteFile,
    tmp_path: Path,
    patience: Patience,
    watcher: Watcher,
    said: list[str],
) -> None:
    server.faults["a.zip"] = ["cut:300000"]
    download(file, tmp_path / "a.zip", watcher=watcher, patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == [("a.zip", ""), ("a.zip", "bytes=300000-")]
    assert "ended after 300,000 of 1,048,576 bytes" in said[0]
    assert "going on after 0.3 MB" in said[1]


def test_each_new_piece_renews_the_patience(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.faults["a.zip"] = ["cut:100000"] * 8
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_later_call_goes_on_where_an_earlier_stopped(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.faults["a.zip"] = ["cut:1000", 403]
    with pytest.raises(DataError, match="are kept"):
        download(file, tmp_path / "a.zip", patience=patience)
    assert not (tmp_path / "a.zip").exists()
    download(file, tmp_path / "a.zip", patience=patience)
    assert server.requests[-1] == ("a.zip", "bytes=1000-")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_server_without_ranges_sends_all_of_it_again(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.ranges = False
    server.faults["a.zip"] = ["cut:1000"]
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.ranges = False
    server.faults["a.zip"] = ["cut:1000"] * 20
    with pytest.raises(DataError, match=r"ended after 1,000 of 1,048,576 bytes"):
        download(file, tmp_path / "a.zip", patience=patience)
    assert len(server.requests) == 1 + patience.attempts - 1


def test_a_file_that_changed_is_got_from_the_start(
    file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    begun(tmp_path / "a.zip", file, b"old" * 100, etag(b"old"))
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_pieces_that_nothing_proves_to_fit_are_not_used(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.etags = False
    begun(tmp_path / "a.zip", file, b"old" * 100)
    download(file, tmp_path / "a.zip", patience=patience)
    assert server.requests == [("a.zip", "")]


def test_pieces_of_another_address_are_not_used(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    begun(tmp_path / "a.zip", RemoteFile("http://elsewhere/a.zip", "a.zip"), b"old", etag())
    download(file, tmp_path / "a.zip", patience=patience)
    assert server.requests == [("a.zip", "")]


def test_pieces_that_turn_out_not_to_fit_are_thrown_away(
    server: FileServer,
    file: RemoteFile,
    tmp_path: Path,
    patience: Patience,
    watcher: Watcher,
    said: list[str],
) -> None:
    server.etags = False
    begun(tmp_path / "a.zip", file, b"old" * 100)
    download(
        checked(file, digest("sha256")), tmp_path / "a.zip", watcher=watcher, patience=patience
    )
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["bytes=300-", ""]
    assert "do not fit together" in said[-1]


def test_a_part_that_is_the_whole_file_is_enough(
    file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    begun(tmp_path / "a.zip", file, BODY, etag())
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_part_that_is_too_long_is_thrown_away(
    file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    begun(tmp_path / "a.zip", file, BODY + b"more", etag())
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_fault_that_passes_is_borne(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience, code: int
) -> None:
    server.faults["a.zip"] = [code, code]
    download(file, tmp_path / "a.zip", patience=patience)
    assert len(server.requests) == 3


def test_a_fault_that_stays_is_told(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.faults["a.zip"] = [500] * 9
    with pytest.raises(DataError, match=r"answered 500 .* Or by hand\."):
        download(file, tmp_path / "a.zip", "Or by hand.", patience=patience)
    assert len(server.requests) == patience.attempts
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_told_at_once(
    server: FileServer, tmp_path: Path, patience: Patience
) -> None:
    with pytest.raises(NotFoundError, match=r"is not there: the server answered 404"):
        download(RemoteFile(server.url("b"), "b"), tmp_path / "b", patience=patience)
    assert len(server.requests) == 1


def test_waits_double_up_to_a_limit_and_the_server_may_ask_for_one(
    server: FileServer, file: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lorarec.data.public.download.time.sleep", waits.append)
    server.faults["a.zip"] = [500] * 4
    download(file, tmp_path / "a.zip", patience=Patience(5, 1.0, 3.0))
    assert waits == [1, 2, 3, 3]
    server.faults["a.zip"], server.headers = [503, 503], {"Retry-After": "2"}
    download(file, tmp_path / "b.zip", patience=Patience(5, 1.0, 3.0))
    assert waits[4:] == [2, 2]


def test_a_refused_connection_says_how_to_go_on(tmp_path: Path, patience: Patience) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    file = RemoteFile(f"http://127.0.0.1:{port}/a", "a")
    with pytest.raises(DataError, match=r"connection refused.*try again.*Or by hand\."):
        download(file, tmp_path / "a", "Or by hand.", patience=patience)


def test_a_name_that_is_not_known_asks_for_a_network(
    tmp_path: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(DataError, match="as without a network"):
        download(RemoteFile("http://data.invalid/a", "a"), tmp_path / "a", patience=patience)


def test_a_server_that_says_nothing_is_not_waited_for_long(
    server: FileServer, file: RemoteFile, tmp_path: Path
) -> None:
    server.faults["a.zip"] = ["stall"]
    download(file, tmp_path / "a.zip", patience=Patience(2, 0.0, timeout=0.2))
    assert len(server.requests) == 2


def test_a_redirect_is_followed_but_not_to_a_file_of_this_machine(
    server: FileServer, file: RemoteFile, tmp_path: Path, patience: Patience
) -> None:
    server.faults["old.zip"] = [f"to:{file.url}", "to:file:///etc/passwd"]
    old = RemoteFile(server.url("old.zip"), "old.zip")
    download(old, tmp_path / "old.zip", patience=patience)
    assert (tmp_path / "old.zip").read_bytes() == BODY
    with pytest.raises(DataError, match="could not be downloaded"):
        download(old, tmp_path / "b.zip", patience=patience)


def test_other_protocols_are_refused(tmp_path: Path, patience: Patience) -> None:
    with pytest.raises(DataError, match="http or https"):
        download(RemoteFile("file:///etc/passwd", "a"), tmp_path / "a", patience=patience)


def test_a_full_disk_keeps_what_came(
    file: RemoteFile,
    tmp_path: Path,
    patience: Patience,
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    with room_for(500_000), pytest.raises(StoreError, match="Could not write"):
        download(file, tmp_path / "a.zip", patience=patience)
    assert not (tmp_path / "a.zip").exists()
    download(file, tmp_path / "a.zip", patience=patience)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_redirect_never_leaves_https() -> None:
    asked = Request("https://example.org/a")
    with pytest.raises(HttpError, match="not safe"):
        _Redirects().redirect_request(asked, BytesIO(), 302, "", Message(), "http://example.org/a")
