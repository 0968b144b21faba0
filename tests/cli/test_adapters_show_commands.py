"""`lorarec adapters list`, `show` and `diff`, as typed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from world import OUTSIDE, Ended, World

Ran = Callable[..., Ended]
EVERY = ("list", "show", "diff")


@pytest.mark.parametrize("command", EVERY)
def test_help_shows_an_example(ran: Ran, command: str) -> None:
    done = ran("adapters", command, "-h")
    assert done.code == 0
    assert f"lorarec adapters {command}" in done.out.split("Example:")[1]
    assert max(map(len, done.out.splitlines())) <= 100


def test_the_list_is_newest_first_with_the_base_of_each(world: World, ran: Ran) -> None:
    done = ran("adapters", "list")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 100
    runs = [line.split()[-1] for line in lines if "adapt " in line]
    assert runs == [uri.removeprefix("runs:/") for uri in (world.adapter, world.other_adapter)]
    for uri, base in ((world.adapter, world.base), (world.other_adapter, world.other_base)):
        line = next(line for line in lines if uri.removeprefix("runs:/") in line)
        assert world.load(base).digest[:6] in line


def test_the_list_in_json_has_what_the_runs_recorded(world: World, ran: Ran) -> None:
    found = ran("adapters", "list", "--json").json
    info = world.run(world.adapter)
    assert [each["uri"] for each in found] == [world.adapter, world.other_adapter]
    assert found[0]["domain"] == "books"
    assert found[0]["rank"] == 2
    assert found[0]["valid_recall_at_20"] == info.metrics["valid_recall_at_20"]
    folder = world.artifacts(world.adapter) / "adapter"
    assert found[0]["bytes_on_disk"] == sum(file.stat().st_size for file in folder.iterdir())


def test_the_list_can_be_of_one_domain_one_base_and_short(world: World, ran: Ran) -> None:
    def uris(*options: str) -> list[str]:
        return [each["uri"] for each in ran("adapters", "list", "--json", *options).json]

    assert uris("--domain", OUTSIDE) == [world.other_adapter]
    assert uris("--base", world.other_base) == [world.other_adapter]
    assert uris("--base", world.base) == [world.adapter]
    assert uris("--domain", "books", "--base", world.other_base) == []
    assert uris("--limit", "1") == [world.adapter]


def test_an_empty_list_says_how_to_make_an_adapter(world: World, ran: Ran) -> None:
    done = ran("adapters", "list", "--domain", "movies")
    assert (done.code, done.out) == (0, "")
    assert "lorarec adapt --domain movies" in done.err


def test_without_a_store_the_list_is_empty(bare_project: Path, ran: Ran) -> None:
    done = ran("adapters", "list", "--json")
    assert (done.code, done.json) == (0, [])
    assert not (bare_project / "mlruns").exists()


def test_show_counts_what_full_fine_tuning_would_train(world: World, ran: Ran) -> None:
    found = ran("adapters", "show", "books", "--json").json
    assert found["adapter"] == world.adapter
    info = world.run(world.adapter)
    assert found["parameters"] == info.metrics["parameters"]
    assert found["parameters_full"] == info.metrics["parameters_full"]
    assert found["optimizer_bytes"] == 8 * found["parameters"] == info.metrics["optimizer_bytes"]
    assert found["share_of_full"] == found["optimizer_bytes"] / found["optimizer_bytes_full"]
    assert found["bytes_on_disk"] == info.metrics["bytes_on_disk"]


def test_show_counts_rows_and_tells_the_lineage(world: World, ran: Ran) -> None:
    found = ran("adapters", "show", world.other_adapter, "--json").json
    base = world.load(world.other_base)
    assert found["base_digest"] == base.digest
    assert found["cutoff"] == base.info.split.t_test
    assert found["data_digest"] == base.info.data.digest
    assert found["grown"]["items"] > 0
    dim = base.model.dim
    assert sum(found["grown"].values()) * dim == found["parameters_grown"]
    factors = (found["touched"]["users"] + found["touched"]["items"] + 2 * dim) * 2 + 2 * dim * 2
    assert factors + found["touched"]["bias"] == found["parameters_factors"]


def test_show_prints_tables_that_fit(world: World, ran: Ran) -> None:
    done = ran("adapters", "show", "books")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    for word in ("parameters", "optimiser bytes", "bytes on disk", "touched", "grown", "cut-off"):
        assert word in done.out
    assert world.load(world.base).digest in done.out
    assert f"Adapter: {world.adapter}" in done.err


@pytest.mark.parametrize("how", ["uri", "id", "folder", "artifacts"])
def test_an_adapter_is_named_by_run_id_or_folder(world: World, ran: Ran, how: str) -> None:
    place = world.artifacts(world.other_adapter)
    named = {
        "uri": world.other_adapter,
        "id": world.other_adapter.removeprefix("runs:/"),
        "folder": place / "adapter",
        "artifacts": place,
    }[how]
    found = ran("adapters", "show", named, "--json").json
    assert found["domain"] == OUTSIDE


def test_a_domain_is_looked_up_on_the_base_that_is_named(world: World, ran: Ran) -> None:
    assert ran("adapters", "show", OUTSIDE).code == 2
    found = ran("adapters", "show", OUTSIDE, "--base", world.other_base, "--json").json
    assert found["adapter"] == world.other_adapter


def test_an_adapter_whose_base_is_gone_can_still_be_shown(world: World, ran: Ran) -> None:
    shutil.rmtree(world.artifacts(world.base))
    assert ran("adapters", "show", world.adapter).code == 0


def test_an_unknown_name_gets_the_nearest_domain(world: World, ran: Ran) -> None:
    done = ran("adapters", "show", "bookz")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'books'?" in done.err
    assert "lorarec adapters list" in done.err


def test_diff_tells_rows_and_distances(world: World, ran: Ran) -> None:
    newer = world.adapt("movies").run
    found = ran("adapters", "diff", "books", "movies", "--json").json
    assert (found["a"], found["b"]) == (world.adapter, newer)
    parts = {part["part"]: part for part in found["parts"]}
    assert {"users", "items", "transform", "bias"} <= parts.keys()
    shown = ran("adapters", "show", "books", "--json").json
    assert parts["users"]["only_a"] + parts["users"]["both"] == shown["touched"]["users"]
    assert parts["items"]["largest"] >= parts["items"]["mean"] > 0


def test_diff_of_one_with_itself_is_nothing(world: World, ran: Ran) -> None:
    found = ran("adapters", "diff", "books", world.adapter, "--json").json
    assert [part["largest"] for part in found["parts"]] == pytest.approx([0.0] * 4, abs=1e-12)


def test_diff_prints_a_table_that_fits(world: World, ran: Ran) -> None:
    world.adapt("movies")
    done = ran("adapters", "diff", "books", "movies")
    assert done.code == 0
    assert max(map(len, done.out.splitlines()[1:])) <= 100
    assert "mean length of the base's rows" in done.err


def test_diff_of_two_bases_is_refused_with_both_digests(world: World, ran: Ran) -> None:
    done = ran("adapters", "diff", world.adapter, world.other_adapter)
    assert (done.code, done.out) == (2, "")
    for base in (world.base, world.other_base):
        assert world.load(base).digest in done.err
    assert "lorarec adapters list" in done.err


def test_diff_without_the_base_says_how_to_name_it(world: World, ran: Ran) -> None:
    place = world.artifacts(world.adapter) / "adapter"
    elsewhere = ("--set", "tracking.experiment=another")
    done = ran("adapters", "diff", place, place, *elsewhere)
    assert (done.code, done.out) == (2, "")
    assert world.load(world.base).digest in done.err
    assert "--base URI" in done.err
    base = world.artifacts(world.base)
    assert ran("adapters", "diff", place, place, "--base", base, *elsewhere).code == 0
