"""Lists for many users: batches change nothing, and a file is whole or as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest
from world import World

from lorarec.errors import StoreError
from lorarec.jobs.listener import Listener
from lorarec.jobs.recommend import prepare, recommender
from lorarec.jobs.recommend_users import SCHEMA, recommend_users
from lorarec.jobs.recommender import Ranked, Recommender
from lorarec.training.loop import Progress

OUT = Path("lists.parquet")


@pytest.fixture
def books(world: World) -> Recommender:
    """With its adapter."""
    return recommender(prepare("books", world.store))


def test_batches_change_nothing_and_progress_counts_users(books: Recommender) -> None:
    users = pl.concat([books.arena.members, pl.Series("user_id", ["nobody"])])
    steps: list[Progress] = []
    begun: list[int] = []
    listener = Listener(begin=lambda _, rows: begun.append(rows), step=steps.append)
    whole = recommend_users(books, users, 5, OUT)
    expected = pl.read_parquet(OUT)
    parts = recommend_users(books, users, 5, OUT, listener, batch=7)
    assert parts == whole
    assert pl.read_parquet(OUT).equals(expected)
    assert dict(expected.schema) == SCHEMA
    assert begun == [len(users)] == [sum(step.rows for step in steps)]


def test_broken_off_in_the_middle_the_file_is_as_it_was(
    books: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = books.arena.members
    recommend_users(books, users, 3, OUT)
    before, rank, calls = OUT.read_bytes(), Recommender.rank, 0

    def failing(self: Recommender, users: pl.Series, k: int) -> Ranked:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt
        return rank(self, users, k)

    monkeypatch.setattr(Recommender, "rank", failing)
    with pytest.raises(KeyboardInterrupt):
        recommend_users(books, users, 3, OUT, batch=10)
    assert calls == 3
    assert OUT.read_bytes() == before
    assert [path.name for path in Path().glob("*lists*")] == [OUT.name]


def test_a_full_disk_is_said_and_leaves_nothing(
    books: Recommender, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    with room_for(256), pytest.raises(StoreError, match="Could not write lists"):
        recommend_users(books, books.arena.members, 10, OUT)
    assert not list(Path().glob("*lists*"))
