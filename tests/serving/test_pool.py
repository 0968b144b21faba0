"""Domains in memory: what a request gets, what leaves, and that a swap is never seen half-done."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from world import World

from lorarec.errors import NotFoundError, StoreError
from lorarec.jobs.recommend import prepare, recommend
from lorarec.serving.pool import Pool
from lorarec.serving.snapshot import Query, Snapshot
from lorarec.serving.store import BARE, StoreSource

USER = "u00057"
"""Has books."""


@pytest.fixture
def source(world: World) -> StoreSource:
    """The store of the world."""
    return StoreSource(world.store)


class Fixed:
    """Snapshots that were made before; `now` says which."""

    def __init__(self, made: dict[tuple[str, str], Snapshot], now: dict[str, str]) -> None:
        self.made, self.now = made, now
        self.loaded: list[str] = []

    def domains(self) -> Sequence[str]:
        return sorted(self.now)

    def version(self, domain: str) -> str:
        return self.now[domain]

    def load(self, domain: str, version: str) -> Snapshot:
        self.loaded.append(domain)
        if (domain, version) not in self.made:
            raise StoreError(f"No {version}.")
        return self.made[domain, version]


@pytest.fixture
def fixed(source: StoreSource) -> Fixed:
    """Books by its adapter or bare, the other domains bare."""
    version = source.version("books")
    made = {("books", "a"): source.load("books", version)}
    made |= {(name, "b"): source.load(name, BARE) for name in source.domains()}
    return Fixed(made, {"books": "a", "games": "b", "movies": "b"})


def test_a_request_is_answered_as_recommend_does(world: World, source: StoreSource) -> None:
    pool = Pool(source)
    (answer,) = pool.answer([Query("books", USER, k=7)])
    ready = prepare("books", world.store)
    assert answer.found == recommend(ready, USER, 7)
    assert ready.adapter is not None
    assert answer.adapter == ready.adapter.info.digest
    assert answer.base == ready.base.digest


def test_domains_share_one_base(source: StoreSource) -> None:
    pool = Pool(source)
    assert pool.get("books").base is pool.get("movies").base


def test_a_batch_of_domains_and_ks_is_answered_in_its_order(source: StoreSource) -> None:
    pool = Pool(source)
    queries = [Query("movies", USER, k=3), Query("books", USER, k=9), Query("movies", "u00001")]
    together = pool.answer(queries)
    assert together == [pool.answer([query])[0] for query in queries]
    assert [len(answer.found.items) for answer in together] == [3, 9, 10]


def test_a_stranger_gets_the_popular_items_marked_so(source: StoreSource) -> None:
    (answer,) = Pool(source).answer([Query("books", "nobody", k=3)])
    assert (answer.found.fallback, answer.reason) == ("popular", "unknown user")


def test_a_stranger_with_a_history_is_folded_in_and_does_not_get_it_again(
    world: World, source: StoreSource
) -> None:
    pool = Pool(source)
    arena = pool.get("books").ready.arena
    rows = arena.frame.filter(pl.col("split") == "train")
    hits, popular = [], []
    (by_count,) = pool.answer([Query("books", None, k=80)])
    for user in arena.members.head(40):
        items = rows.filter(user_id=user)["item_id"].unique().to_list()
        own, rest = set(pool.answer([Query("books", user, k=20)])[0].found.items), tuple(items)
        (answer,) = pool.answer([Query("books", None, rest, k=20)])
        assert (answer.found.fallback, answer.reason) == ("history", "unknown user")
        assert not set(items) & set(answer.found.items)
        left = [item for item in by_count.found.items if item not in items][:20]
        hits.append(len(own & set(answer.found.items)))
        popular.append(len(own & set(left)))
    # By history it is nearer to what the user's own vector gives than the popular items are.
    assert np.mean(hits) > np.mean(popular)


def test_a_history_of_unknown_items_falls_back_to_popular(source: StoreSource) -> None:
    (answer,) = Pool(source).answer([Query("books", None, ("nothing",), k=3)])
    assert answer.found.fallback == "popular"


def test_an_unknown_domain_names_the_nearest(source: StoreSource) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        Pool(source).get("book")


def test_the_least_recently_used_domain_leaves(fixed: Fixed) -> None:
    pool = Pool(fixed, most=2)
    for name in ("books", "games", "books", "movies"):
        pool.get(name)
    assert [snapshot.domain for snapshot in pool.held] == ["books", "movies"]
    pool.get("books")
    assert fixed.loaded == ["books", "games", "movies"]


def test_bytes_are_a_bound_too_and_the_last_one_stays(fixed: Fixed) -> None:
    pool = Pool(fixed, most_bytes=1)
    pool.get("books")
    pool.get("games")
    assert [snapshot.domain for snapshot in pool.held] == ["games"]


def test_a_version_that_cannot_be_loaded_leaves_the_one_before(fixed: Fixed) -> None:
    pool = Pool(fixed)
    before = pool.get("books")
    fixed.now["books"] = "gone"
    assert pool.refresh().failed == {"books": "No gone."}
    assert pool.get("books") is before


def test_a_domain_is_loaded_once_for_all_who_wait(fixed: Fixed) -> None:
    pool = Pool(fixed)
    threads = [threading.Thread(target=pool.get, args=("books",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fixed.loaded == ["books"]


def test_no_request_sees_a_mix_of_two_versions(fixed: Fixed) -> None:
    pool = Pool(fixed)
    queries = [Query("books", USER, k=5), Query("books", "u00001", k=5)]
    wanted = {}
    for version in ("a", "b"):
        snapshot = fixed.made["books", version]
        wanted[snapshot.adapter_digest] = snapshot.answer(queries)
    assert len({str(answers) for answers in wanted.values()}) == 2
    done, wrong = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            answers = pool.answer(queries)
            if answers != wanted[answers[0].adapter]:
                wrong.append(answers)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    swaps = 0
    for turn in range(200):
        fixed.now["books"] = "ab"[turn % 2]
        swaps += len(pool.refresh().swapped)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert swaps > 50


def test_the_champion_serves_and_where_there_is_none_the_newest(
    world: World, source: StoreSource
) -> None:
    pool = Pool(source)
    assert pool.get("books").version == world.adapter
    client, name = world.store.client, "lorarec-books"
    client.create_registered_model(name)
    run = world.run(world.adapter)
    client.create_model_version(name, f"{run.artifact_uri}/adapter", run_id=run.run_id)
    assert pool.refresh().swapped == {"books": BARE}
    assert pool.get("books").adapter_digest is None
    client.set_registered_model_alias(name, "champion", "1")
    assert pool.refresh().swapped == {"books": f"models:/{name}/1"}
    assert pool.get("books").adapter_digest is not None


def test_a_champion_on_another_base_brings_it(world: World, source: StoreSource) -> None:
    client, run = world.store.client, world.run(world.other_adapter)
    client.create_registered_model("lorarec-games")
    client.create_model_version("lorarec-games", f"{run.artifact_uri}/adapter", run_id=run.run_id)
    client.set_registered_model_alias("lorarec-games", "champion", "1")
    pool = Pool(source)
    other = world.load(world.other_base).digest
    assert pool.get("games").base_digest == other != pool.get("books").base_digest
