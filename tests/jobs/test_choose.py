"""Which base and which adapter a command means."""

from __future__ import annotations

import pytest
from world import OUTSIDE, Words, World

from lorarec.errors import AdapterMismatchError, ArtifactError, NotFoundError
from lorarec.jobs.choose import NO_ADAPTER, choose_adapter, choose_base
from lorarec.jobs.listener import SILENT
from lorarec.lora.adapter import Adapter
from lorarec.tracking.runs import standard_tags


def adapter_of(world: World, domain: str, uri: str | None = None, base: str | None = None) -> str:
    """The digest of the chosen adapter; an empty one where there is none."""
    chosen = choose_base(world.store, base or world.base, SILENT).base
    found = choose_adapter(world.store, uri, chosen, domain, SILENT)
    return found.info.digest if isinstance(found, Adapter) else ""


def failing(world: World, kind: str, **tags: object) -> None:
    """A run that began last and failed."""
    with (
        pytest.raises(ZeroDivisionError),
        world.store.run(kind, kind, tags=standard_tags(**tags)),
    ):
        raise ZeroDivisionError


def test_without_a_uri_it_is_the_newest_base_and_said(world: World) -> None:
    words = Words()
    assert choose_base(world.store, None, words.listener).run == world.base
    assert f"Base: {world.base}" in words
    assert "the newest" in words


def test_a_newer_base_takes_its_place(world: World) -> None:
    newer = world.pretrain(world.frame).run
    assert choose_base(world.store, None, SILENT).run == newer


def test_a_failed_run_is_never_the_newest_base(world: World) -> None:
    failing(world, "pretrain")
    assert choose_base(world.store, None, SILENT).run == world.base


@pytest.mark.parametrize("prefix", ["runs:/", ""])
def test_an_older_base_is_had_by_name(world: World, prefix: str) -> None:
    uri = world.other_base.replace("runs:/", prefix)
    assert choose_base(world.store, uri, SILENT).run == world.other_base


def test_a_base_may_be_a_folder_and_has_no_run_then(world: World) -> None:
    chosen = choose_base(world.store, str(world.artifacts(world.base) / "base"), SILENT)
    assert chosen.base.digest == world.load(world.base).digest
    assert chosen.run is None


def test_a_store_without_a_base_says_how_to_make_one(project: object) -> None:
    from lorarec.config import Tracking
    from lorarec.tracking import open_store

    with pytest.raises(NotFoundError, match="lorarec pretrain --data"):
        choose_base(open_store(Tracking()), None, SILENT)


@pytest.mark.parametrize(
    "file", ["base.json", "base.safetensors", "users.parquet", "items.parquet"]
)
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_base_that_is_not_whole_is_refused(world: World, file: str, harm: str) -> None:
    path = world.artifacts(world.base) / "base" / file
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=file):
        choose_base(world.store, None, SILENT)


def test_without_a_uri_it_is_the_domains_newest_adapter(world: World) -> None:
    first = adapter_of(world, "books")
    newer = world.adapt("books", {"train.seed": 1}).adapter.info.digest
    assert adapter_of(world, "books") == newer != first


def test_the_chosen_adapter_is_said(world: World) -> None:
    words = Words()
    choose_adapter(world.store, None, world.load(world.base), "books", words.listener)
    assert f"Adapter: {world.adapter}" in words


def test_an_adapter_of_another_domain_is_never_taken(world: World) -> None:
    assert adapter_of(world, "books")
    assert adapter_of(world, "movies") == ""


def test_an_adapter_on_another_base_is_never_taken(world: World) -> None:
    assert adapter_of(world, OUTSIDE, base=world.other_base)
    assert adapter_of(world, OUTSIDE, base=world.base) == ""


def test_a_failed_adapter_is_never_taken(world: World) -> None:
    digest = world.load(world.base).digest
    failing(world, "adapt", domain="books", base_digest=digest)
    assert adapter_of(world, "books") == adapter_of(world, "books", world.adapter)


def test_none_is_the_bare_base_and_said(world: World) -> None:
    words = Words()
    base = world.load(world.base)
    assert choose_adapter(world.store, NO_ADAPTER, base, "books", words.listener) is None
    assert "Adapter: none" in words


def test_no_adapter_yet_is_the_callers_to_say(world: World) -> None:
    words = Words()
    base = world.load(world.base)
    assert choose_adapter(world.store, None, base, "movies", words.listener) is None
    assert words.said == []


def test_an_adapter_of_another_base_names_both_digests_and_its_base(world: World) -> None:
    own, other = (world.load(uri).digest for uri in (world.base, world.other_base))
    with pytest.raises(AdapterMismatchError) as refused:
        adapter_of(world, OUTSIDE, world.other_adapter)
    assert own != other
    assert all(part in str(refused.value) for part in (own, other, world.other_base))


def test_a_named_adapter_of_another_domain_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match=r"'books'\. Expected one of 'movies'"):
        adapter_of(world, "movies", world.adapter)


@pytest.mark.parametrize("file", ["adapter.json", "adapter.safetensors"])
def test_a_truncated_adapter_is_refused(world: World, file: str) -> None:
    path = world.artifacts(world.adapter) / "adapter" / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=file):
        adapter_of(world, "books")


@pytest.mark.parametrize("uri", ["runs:/" + "0" * 32, "nowhere"])
def test_an_unknown_uri_is_refused(world: World, uri: str) -> None:
    with pytest.raises(NotFoundError):
        choose_base(world.store, uri, SILENT)
