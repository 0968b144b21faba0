"""`lorarec forget`, and what other commands make of a store afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest
from world import Ended, World

from lorarec.tracking import flip

Ran = Callable[..., Ended]


@pytest.fixture
def user(world: World) -> str:
    """One of books that the base knows."""
    early = world.frame.sort("timestamp")[:1500].filter(pl.col("domain") == "books")
    return str(early["user_id"].mode().sort()[0])


def test_a_user_goes_and_other_commands_go_on(world: World, ran: Ran, user: str) -> None:
    before = ran("recommend", "--domain", "books", "--user", "u00001", "--json").json
    digest = world.load(world.base).digest
    shown = ran("forget", "--user", user, "--dry-run", "--json").json
    assert shown["dry_run"]
    assert world.load(world.base).digest == digest
    found = ran("forget", "--user", user, "--json").json
    assert found == {**shown, "dry_run": False}
    assert {each["what"] for each in found["touched"]} == {"base", "adapter"}
    assert "delete the" in found["out_of_reach"][0]
    refused = ran("recommend", "--domain", "books", "--user", "u00001")
    assert refused.code == 2
    assert "still hold rows of ids that were forgotten" in refused.err
    world.frame.filter(pl.col("user_id") != user).write_parquet(world.logs)
    after = ran("recommend", "--domain", "books", "--user", "u00001", "--json").json
    assert after == before
    assert ran("export", "--domain", "books", "--out", "out").code == 0
    users = json.loads((world.folder / "out" / "users.json").read_text())
    assert user not in users
    assert None not in users
    assert ran("index", "all", "--out", "all").code == 0
    assert ran("adapters", "show", world.adapter).code == 0
    assert ran("adapters", "diff", world.adapter, world.adapter).code == 0
    assert ran("adapters", "truncate", world.adapter, "--rank", 1).code == 0
    lines = ran("lineage", "books")
    assert f"forgotten ids from {digest[:12]}" in " ".join(lines.out.split())


def test_files_of_ids_and_what_nobody_knows(world: World, ran: Ran, user: str) -> None:
    (world.folder / "who.txt").write_text(f"{user}\nnobody\n")
    pl.DataFrame({"item_id": ["nothing"]}).write_csv(world.folder / "what.csv")
    found = ran("forget", "--users", "who.txt", "--items", "what.csv", "--dry-run")
    assert found.code == 0
    assert "would be touched" in found.out
    assert max(len(line) for line in found.out.splitlines()) <= 100
    nobody = ran("forget", "--user", "nobody")
    assert nobody.code == 0
    assert "Nothing here names them" in nobody.err
    assert ran("forget").code == 2


def test_what_was_broken_off_is_told_and_finished(
    world: World, ran: Ran, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(flip, "finish", lambda store: None)
        assert ran("forget", "--user", user).code == 0
    stopped = ran("runs")
    assert stopped.code == 2
    assert "lorarec forget --finish" in stopped.err
    finished = ran("forget", "--finish")
    assert finished.code == 0
    assert "is finished" in finished.err
    assert ran("runs").code == 0
    assert world.load(world.base).info.forgotten_from is not None
