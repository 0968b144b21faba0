"""`lorarec adapt --rank auto` and `--rank 2,4`, as typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import Ended, World

Ran = Callable[..., Ended]


def test_a_sweep_prints_every_rank_and_takes_one(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies", "--rank", "1,4")
    assert done.code == 0
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [word for word in ("chosen", "best", "kB", "± SE", "of full") if word in done.out] == [
        "chosen", "best", "kB", "± SE", "of full",
    ]  # fmt: skip
    assert "Chosen: rank" in done.err
    assert "Next: lorarec evaluate --domain movies" in done.err
    evaluated = ran("evaluate", "--domain", "movies", "--set", "evaluate.arms=lora")
    taken = ran("runs", "--json").json
    adapter = next(run for run in taken if run["kind"] == "adapt")
    assert f"Adapter: {adapter['uri']}" in evaluated.err
    assert f"\n   {adapter['rank']}  {adapter['uri']}" in done.out


def test_a_sweep_as_json_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran("adapt", "--domain", "movies", "--rank", "4,1", "--json").json
    assert [each["rank"] for each in found["ranks"]] == [1, 4]
    assert found["adapter"] in {each["run"] for each in found["ranks"]}
    assert found["curve"]["chosen"] in (1, 4)
    assert found["ranks"][0]["parameters"] < found["ranks"][1]["parameters"]


def test_auto_prints_the_curve_and_what_it_kept(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "movies", "--rank", "auto")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert "behind the best" in done.out
    assert "Ranks of movies: users:" in done.err
    shown = ran("adapters", "show", "movies", "--json").json
    assert world.newest().uri in str(shown)


def test_auto_as_json_has_the_choice(world: World, ran: Ran) -> None:
    found = ran("adapt", "--domain", "movies", "--rank", "auto", "--json").json
    named = ",".join(f"{name}:{found['ranks']['targets'][name]}" for name in ("users", "items"))
    assert found["targets"].startswith(named)
    assert found["ranks"]["points"]


def test_the_file_says_auto_and_an_option_wins(world: World, ran: Ran) -> None:
    file = world.folder / "lorarec.toml"
    file.write_text(file.read_text().replace("adapt.rank = 2", 'adapt.rank = "auto"'))
    assert ran("adapt", "--domain", "movies", "--json").json["ranks"]["targets"]
    assert ran("adapt", "--domain", "movies", "--rank", 3, "--json").json["ranks"] is None
    assert ran("targets").code == 0


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ("0", "ranks from 1"),
        ("2,2", "each rank once, such as 2,4,8"),
        ("many", "several such as 2,4,8, or auto"),
        ("4,9", "1 to 8"),
        ("2,9,4", "--rank 8"),
    ],
)
def test_ranks_that_cannot_be_exit_with_2_and_no_run(
    world: World, ran: Ran, rank: str, said: str
) -> None:
    before = world.runs()
    done = ran("adapt", "--domain", "books", "--rank", rank)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert world.runs() == before


def test_auto_with_a_rank_for_every_target_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("adapt", "--domain", "books", "--rank", "auto", "--targets", "items:2,bias")
    assert (done.code, done.out) == (2, "")
    assert "which wins" in done.err
