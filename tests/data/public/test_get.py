from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from file_server import FileServer

from lorarec.data.logs import load_logs
from lorarec.data.public.catalogue import SOURCES, find_source
from lorarec.data.public.download import Patience
from lorarec.data.public.get import get_data, import_data
from lorarec.data.public.watch import Watcher
from lorarec.errors import ArtifactError, ConfigError, DataError, NotFoundError

Write = Callable[..., Path]
CORE = "userId itemId rate date\nu{0} i{0} 5.0 2016-06-13\n"


def zipped(**members: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"ml-100k/{name.replace('_', '.')}", text)
    return packed.getvalue()


@pytest.fixture
def small(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """MovieLens 100K on the server, with its checksum."""
    body = zipped(u_data="1\t10\t3\t881250949\n", u_user="1|24|M|technician|85711\n")
    server.files["ml-100k.zip"] = body
    source = replace(
        find_source("movielens-100k"),
        urls={"ml-100k.zip": server.url("ml-100k.zip")},
        checksums={"ml-100k.zip": f"md5:{hashlib.md5(body).hexdigest()}"},
    )
    monkeypatch.setitem(SOURCES, "movielens-100k", source)
    return "movielens-100k"


@pytest.fixture
def markets(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """XMarket on the server, without checksums."""
    for market in ("de", "fr", "jp"):
        server.files[f"{market}_5core.txt"] = CORE.format(market).encode()
    source = replace(
        find_source("xmarket-5core"),
        urls={"{market}_5core.txt": server.url("") + "{market}_5core.txt"},
    )
    monkeypatch.setitem(SOURCES, "xmarket-5core", source)
    return "xmarket-5core"


@pytest.fixture
def get(tmp_path: Path, patience: Patience, watcher: Watcher) -> Callable[..., object]:
    """`get("xmarket-5core", market=["de"])`: into the folder `out`."""

    def make(name: str, force: bool = False, **given: list[str]) -> object:
        return get_data(name, tmp_path / "out", given, force, watcher, patience)

    return make


def test_what_is_downloaded_becomes_logs(small: str, tmp_path: Path, patience: Patience) -> None:
    made = get_data(small, tmp_path / "out", patience=patience)
    assert load_logs(made.path).select("user_id", "domain").rows() == [("1", "zip8")]
    assert (made.rows, made.users, made.items, made.domains) == (1, 1, 1, {"zip8": 1})
    assert pl.read_parquet(made.side_tables[0])["zip_code"].to_list() == ["85711"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "interactions.parquet", "users.parquet", "source.json", "downloads.json", "raw",
    }  # fmt: skip


def test_licence_citation_and_digests_stay_beside_the_logs(
    small: str, tmp_path: Path, get: Callable[..., object], server: FileServer
) -> None:
    get(small)
    found = json.loads((tmp_path / "out" / "source.json").read_text())
    assert "GroupLens" in found["licence"]
    assert "Harper" in found["citation"]
    sha256 = hashlib.sha256(server.files["ml-100k.zip"]).hexdigest()
    assert found["files"] == {"ml-100k.zip": sha256}


def test_out_is_named_after_the_source(
    small: str, patience: Patience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert get_data(small, patience=patience).path == Path(
        "data/movielens-100k/interactions.parquet"
    )


@pytest.mark.parametrize("checksum", [True, False])
def test_what_is_here_is_not_downloaded_again(
    request: pytest.FixtureRequest,
    checksum: bool,
    get: Callable[..., object],
    server: FileServer,
    said: list[str],
) -> None:
    name = request.getfixturevalue("small" if checksum else "markets")
    given = {} if checksum else {"market": ["de"]}
    get(name, **given)
    get(name, **given)
    assert len(server.requests) == 1
    assert "is here already" in said[-2]


def test_the_files_that_came_before_a_failure_are_kept(
    markets: str, get: Callable[..., object], server: FileServer
) -> None:
    server.faults["jp_5core.txt"] = [403]
    with pytest.raises(DataError, match=r"answered 403.*lorarec data import xmarket-5core PATH"):
        get(markets, market=["de", "jp"])
    get(markets, market=["de", "jp"])
    assert [name for name, _ in server.requests] == [
        "de_5core.txt", "jp_5core.txt", "jp_5core.txt",
    ]  # fmt: skip


def test_a_download_that_was_edited_is_got_again(
    markets: str, get: Callable[..., object], server: FileServer, tmp_path: Path, said: list[str]
) -> None:
    get(markets, market=["de"])
    (tmp_path / "out" / "raw" / "de_5core.txt").write_text("edited")
    get(markets, market=["de"])
    assert len(server.requests) == 2
    assert any("is not the file that was downloaded" in text for text in said)


def test_a_file_that_changed_at_its_source_is_refused_unless_forced(
    markets: str, get: Callable[..., object], server: FileServer, tmp_path: Path
) -> None:
    get(markets, market=["de"])
    (tmp_path / "out" / "raw" / "de_5core.txt").unlink()
    server.files["de_5core.txt"] = CORE.format("new").encode()
    with pytest.raises(DataError, match=r"has changed: its SHA-256 is .* --force"):
        get(markets, market=["de"])
    assert load_logs(tmp_path / "out")["user_id"].to_list() == ["ude"]
    get(markets, force=True, market=["de"])
    assert load_logs(tmp_path / "out")["user_id"].to_list() == ["unew"]


def test_only_what_is_chosen_becomes_logs(
    markets: str, get: Callable[..., object], tmp_path: Path
) -> None:
    get(markets, market=["de", "fr"])
    get(markets, force=True, market=["jp"])
    assert load_logs(tmp_path / "out")["domain"].to_list() == ["jp"]


def test_other_options_are_refused_before_a_download(
    markets: str, get: Callable[..., object], server: FileServer
) -> None:
    get(markets, market=["de"])
    with pytest.raises(ConfigError, match="not made from xmarket-5core with these options"):
        get(markets, market=["fr"])
    assert len(server.requests) == 1


def test_a_damaged_record_is_told(markets: str, get: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "downloads.json").write_text("[]")
    with pytest.raises(ArtifactError, match="not the record of downloads"):
        get(markets, market=["de"])


def test_a_wrong_archive_leaves_no_logs(
    small: str, get: Callable[..., object], server: FileServer, tmp_path: Path
) -> None:
    server.files["ml-100k.zip"] = b"a page of a hotel that wants to be paid"
    with pytest.raises(DataError, match="has the MD5"):
        get(small)
    assert not (tmp_path / "out" / "interactions.parquet").exists()


def test_an_import_of_the_same_files_may_be_repeated(write: Write, tmp_path: Path) -> None:
    folder = write("de_5core.txt", CORE)
    first = import_data("xmarket-5core", folder, tmp_path / "out")
    assert import_data("xmarket-5core", folder, tmp_path / "out") == first


@pytest.mark.parametrize("name", ["interactions.parquet", "users.parquet", "items.parquet"])
def test_an_import_does_not_replace_what_is_there(write: Write, tmp_path: Path, name: str) -> None:
    folder = write("de_5core.txt", CORE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        import_data("xmarket-5core", folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    import_data("xmarket-5core", folder, tmp_path / "out", force=True)
    assert load_logs(tmp_path / "out").height == 1


def test_side_tables_of_a_replaced_data_set_go_with_it(
    small: str, get: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    get(small)
    import_data("xmarket-5core", write("de_5core.txt", CORE), tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "users.parquet").exists()


def test_a_failed_import_leaves_nothing(write: Write, tmp_path: Path) -> None:
    folder = write("de_5core.txt", "u i five 2016-06-13\n")
    with pytest.raises(DataError):
        import_data("xmarket-5core", folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


def test_a_path_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"does not exist.*lorarec data get kuairand"):
        import_data("kuairand", tmp_path / "none", tmp_path / "out")


def test_files_of_another_source_are_recognised(write: Write, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"found .*u\.data.*looks like movielens-100k"):
        import_data("movielens-1m", write("u.data", ""), tmp_path / "out")
