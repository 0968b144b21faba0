"""The index of all domains on disk recommends as each domain's own exact search does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from world import DOMAINS, OUTSIDE, Ended, Words, World

from lorarec.errors import AdapterMismatchError, ArtifactError, NotFoundError, StoreError
from lorarec.jobs.index_domains import build_all, open_any
from lorarec.jobs.recommend import prepare, recommend, recommender
from lorarec.retrieval.augmented_artefact import load_domain

Ran = Callable[..., Ended]
OUT = Path("all")


def test_every_domain_recommends_as_without_an_index(world: World) -> None:
    world.adapt("movies", {"adapt.rank": 1})
    words = Words()
    info = build_all(world.store, OUT, listen=words.listener)
    assert [entry.name for entry in info.domains] == sorted(DOMAINS)
    assert "none of games on this base yet" in words
    for domain in DOMAINS:
        ready = prepare(domain, world.store)
        by = recommender(ready, index=open_any(OUT, ready))
        for user in (*ready.arena.members[:5], "nobody"):
            ours, exact = recommend(ready, user, 8, by), recommend(ready, user, 8)
            assert ours.scores == pytest.approx(exact.scores, rel=1e-5)
            assert ours.items == exact.items


def test_its_bytes_are_told_beside_an_index_for_each(world: World) -> None:
    info = build_all(world.store, OUT)
    base = world.load(world.base)
    assert info.shared_bytes == len(base.items) * base.model.dim * 4
    books = next(entry for entry in info.domains if entry.name == "books")
    assert books.bytes == load_domain(OUT, "books").index.nbytes
    assert info.merged_bytes == sum(entry.items * (9 * 4 + 8) for entry in info.domains)


def test_a_domain_that_the_base_has_never_seen_is_whole_in_it(world: World) -> None:
    info = build_all(world.store, OUT, world.other_base)
    ready = prepare(OUTSIDE, world.store, world.other_base)
    own = open_any(OUT, ready)
    assert set(own.items.ids) == set(ready.arena.catalogue.ids)
    assert info.base_digest == ready.base.digest


def test_another_base_adapter_or_domain_is_refused(world: World) -> None:
    build_all(world.store, OUT)
    for others in (
        prepare("books", world.store, adapter="none"),
        prepare("books", world.store, world.other_base, "none"),
    ):
        with pytest.raises(AdapterMismatchError, match="Expected the same"):
            open_any(OUT, others)
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        load_domain(OUT, "boks")
    with pytest.raises(StoreError, match="not empty"):
        build_all(world.store, OUT)


def test_a_file_that_was_changed_is_refused(world: World) -> None:
    build_all(world.store, OUT)
    for name in ("augmented.safetensors", "items-0.parquet", "domains.json"):
        before = (OUT / name).read_bytes()
        (OUT / name).write_bytes(before[:-30] + b"0" * 30)
        with pytest.raises(ArtifactError, match=name):
            load_domain(OUT, "books")
        (OUT / name).write_bytes(before)
    assert len(load_domain(OUT, "books").items)


def test_as_typed_it_is_built_shown_and_used(world: World, ran: Ran) -> None:
    built = ran("index", "all", "--out", "all", "--json")
    assert built.code == 0, built.err
    assert ran("index", "show", "all", "--json").json == built.json
    assert "together" in ran("index", "show", "all").out
    asked = ("recommend", "--domain", "books", "--user", "u00057", "--json")
    ours, exact = ran(*asked, "--index", "all").json, ran(*asked).json
    assert [i["item"] for i in ours["items"]] == [i["item"] for i in exact["items"]]
    assert "Example:" in ran("index", "all", "-h").out
