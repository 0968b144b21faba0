"""Indexes of a domain on disk: as exact search within, refused where they do not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from world import Words, World

from lorarec.errors import (
    AdapterMismatchError,
    ArtifactError,
    ConfigError,
    DataError,
    NotFoundError,
)
from lorarec.jobs.index_domain import add_items, build_index, open_index, remove_items
from lorarec.jobs.recommend import Ready, prepare, recommend, recommender
from lorarec.record import save_record
from lorarec.retrieval.approximate import ApproximateIndex
from lorarec.retrieval.artefact import load_index


@pytest.fixture
def ready(world: World) -> Ready:
    """Books with its adapter."""
    return prepare("books", world.store)


def ids(folder: Path, some: list[str], name: str = "ids.txt") -> Path:
    (folder / name).write_text("\n".join(some), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF2,Flat", "SQ8,RFlat", "auto"])
def test_an_index_recommends_as_exact_search_does(ready: Ready, factory: str) -> None:
    info = build_index(ready, Path("index"), factory, k=5)
    assert info.report.recall >= 0.95
    assert info.report.queries_per_second > 0
    by = recommender(ready, index=open_index(Path("index"), ready))
    for user in ("u00057", "nobody"):
        ours, exact = recommend(ready, user, 5, by), recommend(ready, user, 5)
        assert ours.items == exact.items
        np.testing.assert_allclose(ours.scores, exact.scores, rtol=1e-6)


def test_what_is_loaded_is_what_was_saved(ready: Ready) -> None:
    info = build_index(ready, Path("index"), "HNSW32")
    stored = load_index(Path("index"))
    assert stored.info == info
    assert stored.items == ready.arena.catalogue
    index = stored.index
    assert isinstance(index, ApproximateIndex)
    assert (index.effort.value, index.space.length) == (info.effort, info.length)
    assert info.adapter_digest == ready.adapter.info.digest  # type: ignore[union-attr]


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF2,Flat"])
def test_items_go_and_come_back(ready: Ready, factory: str) -> None:
    build_index(ready, Path("a"), factory, k=5)
    best = recommend(ready, "u00057", 3).items
    gone = ids(Path(), best)
    removed = remove_items(Path("a"), gone, Path("b"))
    assert removed.items == 3
    assert removed.info.items == len(ready.arena.catalogue) - 3
    without = recommender(ready, index=open_index(Path("b"), ready))
    assert not set(recommend(ready, "u00057", 10, without).items) & set(best)
    added = add_items(Path("b"), ready, gone, Path("c"))
    assert added.items == 3
    back = recommender(ready, index=open_index(Path("c"), ready))
    assert recommend(ready, "u00057", 10, back).items == recommend(ready, "u00057", 10).items
    assert load_index(Path("c")).items == ready.arena.catalogue  # by id, so that ties are too


def test_an_item_of_another_domain_can_be_added(ready: Ready) -> None:
    build_index(ready, Path("a"))
    other = [i for i in ready.scorer.items.ids if i not in set(ready.arena.catalogue.ids)][:2]
    words = Words()
    listed = ids(Path(), [*other, ready.arena.catalogue.ids[0]])
    add_items(Path("a"), ready, listed, Path("b"), words.listener)
    assert "1 of 3 items are in the index already" in words
    by = recommender(ready, index=open_index(Path("b"), ready))
    found = recommend(ready, "nobody", 1000, by)
    assert set(other) <= set(found.items)


def test_an_index_of_another_adapter_base_or_domain_names_both(world: World, ready: Ready) -> None:
    build_index(ready, Path("index"))
    digests: list[Any] = [ready.base.digest, ready.adapter.info.digest]  # type: ignore[union-attr]
    world.adapt("books", {"adapt.rank": 1})
    for others, expected in (
        (prepare("books", world.store), digests[1]),
        (prepare("books", world.store, adapter="none"), digests[1]),
        (prepare("books", world.store, world.other_base, "none"), digests[0]),
        (prepare("movies", world.store, adapter="none"), "books"),
    ):
        with pytest.raises(AdapterMismatchError, match=expected):
            open_index(Path("index"), others)


def test_a_file_that_was_changed_is_refused(ready: Ready) -> None:
    build_index(ready, Path("index"), "HNSW32")
    for name in ("index.faiss", "vectors.safetensors", "items.parquet", "index.json"):
        path = Path("index") / name
        before = path.read_bytes()
        path.write_bytes(before[:-40] + b"0" * 40)
        with pytest.raises(ArtifactError, match=name):
            load_index(Path("index"))
        path.unlink()
        with pytest.raises(ArtifactError, match=f"{name} is missing"):
            load_index(Path("index"))
        path.write_bytes(before)
    assert load_index(Path("index")).items == ready.arena.catalogue


def test_parts_of_two_indexes_are_refused(ready: Ready) -> None:
    build_index(ready, Path("a"), "HNSW32")
    remove_items(Path("a"), ids(Path(), [ready.arena.catalogue.ids[3]]), Path("b"))
    mixed = load_index(Path("b")).info
    name = "vectors.safetensors"
    (Path("b") / name).write_bytes((Path("a") / name).read_bytes())
    digest = load_index(Path("a")).info.vectors_digest
    save_record(Path("b") / "index.json", mixed.model_copy(update={"vectors_digest": digest}))
    with pytest.raises(ArtifactError, match="do not belong together"):
        load_index(Path("b"))


def test_what_cannot_be_built_changed_or_found_says_what_can(ready: Ready) -> None:
    with pytest.raises(ConfigError, match="HNSW32"):
        build_index(ready, Path("a"), "HNWS")
    assert not Path("a").exists()
    build_index(ready, Path("a"))
    with pytest.raises(NotFoundError, match="lorarec index build"):
        open_index(Path("nowhere"), ready)
    with pytest.raises(NotFoundError, match=r"1 of 1 ids are unknown.*'i0x'"):
        remove_items(Path("a"), ids(Path(), ["i0x"]), Path("b"))
    with pytest.raises(DataError, match="Expected some to stay"):
        remove_items(Path("a"), ids(Path(), ready.arena.catalogue.series.to_list()), Path("b"))
    with pytest.raises(DataError, match="no item that the index lacks"):
        add_items(Path("a"), ready, ids(Path(), [ready.arena.catalogue.ids[0]]), Path("b"))
    assert not Path("b").exists()


def test_a_target_out_of_reach_is_said_and_the_recall_is_the_true_one(ready: Ready) -> None:
    words = Words()
    info = build_index(ready, Path("a"), "SQ4", target=1.0, k=3, listen=words.listener)
    stored = load_index(Path("a"))
    vectors, _ = ready.scorer.user_vectors(pl.Series(["u00057"]))
    assert stored.index.search(vectors, 3)[0].shape == (1, 3)
    assert (info.report.recall < 1) == ("below the 1 that was wanted" in words)
