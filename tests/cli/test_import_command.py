"""`lorarec import`, as typed, and the commands after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from world import Ended, World

Ran = Callable[..., Ended]


@pytest.fixture
def model(world: World) -> str:
    """Vectors with ids in one file, of the world's own base."""
    base = world.load(world.base)
    tables = base.model.tables()
    np.savez(
        "model.npz",
        P=tables["users"].numpy(),
        Q=tables["items"].numpy(),
        user_ids=base.users.ids.astype(str),
        item_ids=base.items.ids.astype(str),
    )
    return "model.npz"


NAMES = ("--name", "users=P", "--name", "items=Q")


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("import", "-h")
    assert done.code == 0
    assert "lorarec import als.npz --data" in done.out.split("Example:")[1]


def test_it_goes_from_a_file_to_an_adapter_an_evaluation_and_a_recommendation(
    world: World, model: str, ran: Ran
) -> None:
    done = ran("import", model, "--data", world.logs, *NAMES, "--trained-until", "train", "--json")
    found = done.json
    assert found["origin"]["ids"] == "source"
    assert "which changes no ranking" in done.err
    adapter = ran("adapt", "--domain", "books", "--json").json
    assert adapter["base_digest"] == found["base_digest"]
    arms = ran("evaluate", "--domain", "books", "--json").json["table"]
    assert [row["arm"] for row in arms] == ["popularity", "base", "lora", "full"]
    user = world.frame["user_id"][0]
    best = ran("recommend", "--domain", "books", "--user", user, "--json").json
    assert best
    assert [row["kind"] for row in ran("runs", "--json").json][-1] == "pretrain"
    assert "import" in [row["kind"] for row in ran("runs", "--json").json]


def test_the_table_says_what_it_was_and_what_is_next(world: World, model: str, ran: Ran) -> None:
    done = ran("import", model, "--data", world.logs, *NAMES, "--scale", 1)
    assert done.code == 0
    assert world.newest().uri in done.out
    assert "unknown" in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    assert "--trained-until DATE" in done.err
    assert "Next: lorarec adapt --domain books" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nothing.npz"], "There is no file nothing.npz"),
        (["model.npz"], "has no array of a name that is known for users"),
        (["model.npz", "--name", "users"], "no PART=NAME"),
        (["model.npz", *NAMES, "--trained-until", "soon"], "'soon' is no date"),
        (["model.npz", *NAMES, "--trained-until", "2100-01-01"], "--accept-leak"),
        (["model.npz", *NAMES, "--scale", "0"], "--scale"),
        (["runs:/0123456789abcdef0123456789abcdef"], "There is no run"),
        ([], "Missing argument"),
    ],
)
def test_what_is_wrong_exits_with_2_and_leaves_no_run(
    world: World, model: str, ran: Ran, options: list[str], said: str
) -> None:
    before = world.runs()
    done = ran("import", *options, "--data", world.logs)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert world.runs() == before


def test_als_is_a_model_to_pretrain(world: World, ran: Ran) -> None:
    found = ran("pretrain", "--model", "als", "--data", world.logs, "--json").json
    info = json.loads((world.artifacts(found["run"]) / "base" / "base.json").read_text())
    assert (info["similarity"], info["origin"]) == ("dot", None)
    assert Path("mlruns").is_dir()
