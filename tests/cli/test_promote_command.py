"""`lorarec promote`, `rollback` and `history`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from world import Ended, World

Ran = Callable[..., Ended]
YES, NO = ("--set", "gate.min_effect=-1"), ("--set", "gate.min_effect=1")
BOOKS = ("--domain", "books")


def test_a_yes_moves_the_champion_and_prints_the_reasons(world: World, ran: Ran) -> None:
    found = ran("promote", *BOOKS, *YES, "--set", "gate.max_drop=1")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0].startswith("books, valid: recall_at_20 of ")
    assert lines[1].split() == ["asked", "measured", "interval", "bound", "verdict"]
    rows = {line[:18].strip(): line for line in lines[3:]}
    assert rows["beats champion"].endswith("- (none yet)")
    assert rows["beats base"].rstrip().endswith("yes")
    assert "slice known_users" in rows
    assert max(map(len, lines)) <= 100
    assert "models:/lorarec-books/1 is the champion of books" in found.err


def test_a_no_exits_with_1_and_names_what_failed(world: World, ran: Ran) -> None:
    found = ran("promote", *BOOKS, *NO, "--json")
    assert found.code == 1
    assert found.json["outcome"] == "refused"
    assert found.json["verdict"]["decision"] == "keep-base"
    assert [c["name"] for c in found.json["verdict"]["checks"] if c["passed"] is False] == [
        "beats base"
    ]
    assert "The gate said no: beats base. Verdict: keep-base." in found.err
    challenger = "models:/lorarec-books@challenger"
    assert ran("recommend", *BOOKS, "--user", "u1", "--adapter", challenger).code == 0


@pytest.mark.parametrize("given", [["--force"], ["--reason", "x"], ["--force", "--reason", " "]])
def test_force_and_reason_go_together(world: World, ran: Ran, given: list[str]) -> None:
    found = ran("promote", *BOOKS, *given)
    assert found.code == 2
    assert "--force needs --reason TEXT" in found.err


def test_from_force_to_rollback_to_history(world: World, ran: Ran) -> None:
    assert ran("promote", *BOOKS, *YES).code == 0
    world.adapt("books", {"train.seed": 1})
    assert ran("promote", *BOOKS, *NO, "--force", "--reason", "a fire").code == 0
    back = ran("rollback", *BOOKS, "--reason", "it was out", "--json")
    assert back.code == 0
    assert (back.json["champion"], back.json["champion_before"]) == (1, 2)
    told = ran("history", *BOOKS)
    assert told.code == 0
    whats = [line.split()[2:4] for line in told.out.splitlines()[3:] if line.startswith("20")]
    assert whats == [["rollback", "1"], ["force", "2"], ["promote", "1"]]
    assert "a fire" in told.out
    assert "Champion: models:/lorarec-books/1. Challenger: none." in told.err
    found = ran("history", *BOOKS, "--json").json
    assert [entry["what"] for entry in found["history"]] == ["rollback", "force", "promote"]
    assert found["versions"][1]["verdict"]["forced"] == "a fire"
    assert found["champion"] == 1


def test_models_uris_work_wherever_a_uri_does(world: World, ran: Ran) -> None:
    assert ran("promote", *BOOKS, *YES).code == 0
    champion, base = "models:/lorarec-books@champion", "models:/lorarec-base@champion"
    for command in (
        ("adapters", "show", champion, "--json"),
        ("adapters", "diff", champion, "models:/lorarec-books/1", "--json"),
        ("recommend", *BOOKS, "--user", "u1", "--adapter", champion, "--base", base, "--json"),
        ("evaluate", *BOOKS, "--adapter", champion, "--arms", "lora", "--json"),
        ("adapters", "list", "--base", base, "--json"),
        ("targets", "--base", base, "--json"),
    ):
        found = ran(*command)
        assert found.code == 0, (command, found.err)
        assert found.json
    # The adapter's own base is taken, though another is the newest.
    world.pretrain(world.frame)
    assert ran("recommend", *BOOKS, "--user", "u1", "--adapter", champion).code == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("recommend", "--user", "u1", "--adapter", "models:/lorarec-books@champion"), "lorarec"),
        (("rollback",), "begin with: lorarec promote --domain books"),
        (("history",), "begin with: lorarec promote --domain books"),
        (("promote", "--adapter", "models:/lorarec-books/4"), "no model 'lorarec-books'"),
        (("promote", "--set", "gate.metric=recal@20"), "Did you mean 'recall'"),
        (("promote", "--set", "gate.metric=recall"), "such as recall@20"),
        (("promote", "--set", "gate.part=train"), "such as valid or test"),
        (("promote", "--set", "gate.part=nope"), "has no rows in 'nope'"),
        (("promote", "--set", "gate.must_beat=chmpion"), "Did you mean 'champion'"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_the_next_step(
    world: World, ran: Ran, command: tuple[str, ...], said: str
) -> None:
    found = ran(*command, *BOOKS)
    assert found.code == 2
    assert said in found.err
    assert found.out == ""


def test_a_read_only_store_can_be_asked_and_not_moved(world: World, ran: Ran) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    assert ran("promote", *BOOKS, *YES).code == 0
    store = world.folder / "mlruns"
    for place in (store, store / "mlflow.db"):
        place.chmod(0o555)
    try:
        assert ran("history", *BOOKS).code == 0
        refused = ran("rollback", *BOOKS)
    finally:
        for place in (store, store / "mlflow.db"):
            place.chmod(0o755)
    assert refused.code == 2
    assert "is read-only" in refused.err
