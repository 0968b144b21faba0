"""The alias champion: how it moves, what it was before, and who may move it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lorarec.errors import StoreError
from lorarec.tracking import Store, find_run
from lorarec.tracking.champions import (
    FORCE,
    PROMOTE,
    ROLLBACK,
    ChampionMovedError,
    advance_base,
    deciding,
    move,
    reign,
    set_challenger,
)
from lorarec.tracking.model_names import BASE_MODEL, model_name
from lorarec.tracking.versions import find_version, register, versions

BOOKS = "books"


@pytest.fixture
def three(store: Store) -> Store:
    """A store with three versions of books, none of which serves."""
    for _ in range(3):
        with store.run("adapt", "adapt") as run, run.artifact_folder("adapter") as folder:
            (folder / "adapter.json").write_text("{}")
        register(store, model_name(BOOKS), find_run(store, run.id), "adapter", {})
    return store


def promoted(store: Store, *numbers: int, how: str = PROMOTE) -> None:
    for number in numbers:
        move(store, reign(store, BOOKS), number, how)


def rolled_back(store: Store) -> None:
    now = reign(store, BOOKS)
    move(store, now, now.stack[1].version, ROLLBACK, below=now.stack[1].below)


def served(store: Store) -> list[tuple[str, int | None]]:
    return [(event.how, event.version) for event in reign(store, BOOKS).past]


def alias(store: Store) -> int:
    return find_version(store, "models:/lorarec-books@champion").number


def test_nothing_serves_before_a_promotion(three: Store) -> None:
    assert reign(three, BOOKS).version is None
    assert reign(three, BOOKS).current is None
    assert reign(three, "unheard of").version is None


def test_a_promotion_moves_the_alias_and_is_written_down(three: Store) -> None:
    event = move(three, reign(three, BOOKS), 2, FORCE, reason="a fire")
    found = reign(three, BOOKS)
    assert (alias(three), found.version, found.current) == (2, 2, event)
    assert (event.how, event.reason, event.after) == (FORCE, "a fire", None)
    assert event.at.endswith("+00:00")


def test_rollbacks_go_down_the_stack(three: Store) -> None:
    promoted(three, 1, 2, 3)
    for expected in (2, 1):
        rolled_back(three)
        assert alias(three) == expected
    assert reign(three, BOOKS).stack[1:] == []
    promoted(three, 3)
    rolled_back(three)
    assert alias(three) == 1  # not 2, which was rolled back from
    assert served(three) == [
        (ROLLBACK, 1), (PROMOTE, 3), (ROLLBACK, 1), (ROLLBACK, 2),
        (PROMOTE, 3), (PROMOTE, 2), (PROMOTE, 1),
    ]  # fmt: skip


def test_the_bare_base_can_serve_again_and_be_left(three: Store) -> None:
    promoted(three, 1)
    now = reign(three, BOOKS)
    assert now.current is not None
    move(three, now, None, ROLLBACK, below=now.current.id)
    assert reign(three, BOOKS).version is None
    rolled_back(three)
    assert alias(three) == 1


def test_of_two_that_decide_at_once_the_second_is_refused(three: Store) -> None:
    promoted(three, 1)
    seen_by_both = reign(three, BOOKS)
    move(three, seen_by_both, 2, PROMOTE)
    with pytest.raises(ChampionMovedError, match=r"was version 1 .* and is version 2 now"):
        move(three, seen_by_both, 3, PROMOTE)
    assert alias(three) == 2
    assert served(three) == [(PROMOTE, 2), (PROMOTE, 1)]


def test_there_and_back_meanwhile_is_noticed(three: Store) -> None:
    promoted(three, 1)
    before = reign(three, BOOKS)
    promoted(three, 2)
    rolled_back(three)
    with pytest.raises(ChampionMovedError, match="another one in between"):
        move(three, before, 3, PROMOTE)


def test_a_move_that_is_killed_before_the_alias_moves_has_not_happened(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(three, 1, 2)
    before = reign(three, BOOKS)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(three.client, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            move(three, before, 1, ROLLBACK)
    found = reign(three, BOOKS)
    assert (found.version, found.current) == (2, before.current)
    assert [(event.how, event.version) for event in found.not_carried_out] == [(ROLLBACK, 1)]
    promoted(three, 3)
    assert served(three) == [(PROMOTE, 3), (PROMOTE, 2), (PROMOTE, 1)]


def test_where_nothing_locks_the_one_that_was_overtaken_is_told(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server: the other moves the alias right after this one has."""
    promoted(three, 1)
    before, move_alias = reign(three, BOOKS), three.client.set_registered_model_alias

    def overtaken(name: str, which: str, number: str) -> None:
        move_alias(name, which, number)
        move_alias(name, which, "3")

    monkeypatch.setattr(three.client, "set_registered_model_alias", overtaken)
    with pytest.raises(ChampionMovedError, match="is version 3 now"):
        move(three, before, 2, PROMOTE)


def test_an_alias_moved_by_hand_is_in_the_history_and_can_be_left(three: Store) -> None:
    promoted(three, 1)
    three.client.set_registered_model_alias("lorarec-books", "champion", "3")
    assert served(three) == [("by hand", 3), (PROMOTE, 1)]
    rolled_back(three)
    assert alias(three) == 1
    assert served(three) == [(ROLLBACK, 1), ("by hand", 3), (PROMOTE, 1)]


def test_a_champion_deleted_under_us_leaves_the_one_before_to_go_back_to(three: Store) -> None:
    promoted(three, 1, 2)
    three.client.delete_model_version("lorarec-books", "2")
    now = reign(three, BOOKS)
    assert now.version is None
    assert [event.version for event in now.stack] == [None, 2, 1]


def test_an_event_that_was_edited_by_hand_breaks_nothing(three: Store) -> None:
    promoted(three, 1)
    for number, text in enumerate(("{", "[]", '{"id": 1, "what": 2}')):
        tag = f"lorarec.event.{number}"
        three.client.set_registered_model_tag("lorarec-books", tag, text)
    assert served(three) == [(PROMOTE, 1)]


def test_a_promoted_challenger_is_no_challenger_any_more(three: Store) -> None:
    set_challenger(three, BOOKS, 2)
    assert reign(three, BOOKS).challenger == 2
    promoted(three, 1)
    assert reign(three, BOOKS).challenger == 2
    promoted(three, 2)
    assert reign(three, BOOKS).challenger is None


def test_the_champion_of_the_base_never_goes_back(store: Store) -> None:
    with store.run("pretrain", "pretrain") as run, run.artifact_folder("base") as folder:
        (folder / "base.json").write_text("{}")
    for _ in range(2):
        register(store, BASE_MODEL, find_run(store, run.id), "base", {})
    for number, expected in ((1, 1), (2, 2), (1, 2)):
        advance_base(store, number)
        assert find_version(store, "models:/lorarec-base@champion").number == expected


def test_one_process_decides_at_a_time(three: Store) -> None:
    with (
        deciding(three),
        pytest.raises(StoreError, match="moving a champion"),
        deciding(three, 0.1),
    ):
        pytest.fail("both decide")
    with deciding(three, 0.1):
        pass


WRITER = textwrap.dedent(
    """
    import sys
    from lorarec.config import Tracking
    from lorarec.tracking import find_run, open_store
    from lorarec.tracking.champions import deciding, move, reign
    from lorarec.tracking.model_names import model_name
    from lorarec.tracking.versions import register

    domain, run = sys.argv[1:]
    store = open_store(Tracking())
    for _ in range(4):
        with deciding(store):
            version = register(store, model_name(domain), find_run(store, run), "adapter", {})
            move(store, reign(store, domain), version.number, "promote")
    """
)


def test_two_processes_that_promote_different_domains_lose_nothing(
    three: Store, project: Path
) -> None:
    run = versions(three, model_name(BOOKS))[0].run_id
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, domain, str(run)], cwd=project)
        for domain in ("movies", "men's/wear")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    for domain in ("movies", "men's/wear"):
        found = reign(three, domain)
        assert [event.version for event in found.past] == [4, 3, 2, 1]
        assert found.not_carried_out == []
        assert len(versions(three, model_name(domain))) == 4
