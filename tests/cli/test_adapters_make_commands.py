"""`lorarec adapters sum`, `truncate`, `quantize` and `merge`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from world import OUTSIDE, Ended, World

from lorarec.lora.adapter import load_adapter
from lorarec.models.artefact import load_base
from lorarec.storage import read_tensors

Ran = Callable[..., Ended]
MAKES = {
    "sum": ("sum", "books", "books", "--weights", ".5,.5"),
    "truncate": ("truncate", "books", "--rank", "1"),
    "quantize": ("quantize", "books", "--to", "int8"),
}
every_way = pytest.mark.parametrize("kind", MAKES)


@pytest.mark.parametrize("command", [*MAKES, "merge"])
def test_help_shows_an_example(ran: Ran, command: str) -> None:
    done = ran("adapters", command, "-h")
    assert done.code == 0
    assert f"lorarec adapters {command} books" in done.out.split("Example:")[1]
    assert max(map(len, done.out.splitlines())) <= 100


@every_way
def test_it_makes_a_run_with_an_adapter_that_names_its_parents(
    world: World, ran: Ran, kind: str
) -> None:
    found = ran("adapters", *MAKES[kind], "--json").json
    run = world.newest()
    assert (run.uri, run.kind, run.status) == (found["run"], kind, "FINISHED")
    assert set((run.tag("parents") or "").split(",")) == {world.adapter}
    adapter = load_adapter(world.artifacts(run.uri) / "adapter", world.load(world.base))
    assert adapter.info.digest == found["adapter_digest"] == run.tag("adapter_digest")
    assert adapter.info.made_of is not None
    assert adapter.info.made_of.how == kind
    assert set(adapter.info.made_of.parents) == {world.run(world.adapter).tag("adapter_digest")}
    assert run.metrics["bytes_on_disk"] == found["bytes_on_disk"]
    assert run.tag("base_run") == world.base


@every_way
def test_it_is_measured_on_validation_as_evaluate_does(world: World, ran: Ran, kind: str) -> None:
    found = ran("adapters", *MAKES[kind], "--json").json
    assert found["reference"] == world.adapter
    before, after = found["measured"][world.adapter], found["measured"]["made"]
    for uri, arm in ((world.adapter, before), (found["run"], after)):
        options = ("--on", "valid", "--arms", "lora", "--k", "20", "--adapter", uri)
        (row,) = ran("evaluate", "--domain", "books", *options, "--json").json["table"]
        assert row["recall_at_20"] == pytest.approx(arm["recall_at_20"])
        assert row["ndcg_at_20"] == pytest.approx(arm["ndcg_at_20"])
    change = after["recall_at_20"] - before["recall_at_20"]
    assert after["minus_first"]["recall_at_20"]["mean"] == pytest.approx(change)
    assert world.run(found["run"]).tag("part") == "valid"


@every_way
def test_it_is_never_taken_without_being_named(world: World, ran: Ran, kind: str) -> None:
    made = ran("adapters", *MAKES[kind], "--json").json["run"]
    done = ran("recommend", "--domain", "books", "--user", "u00057")
    assert f"Adapter: {world.adapter}" in done.err
    assert ran("recommend", "--domain", "books", "--user", "u00057", "--adapter", made).code == 0


@every_way
def test_what_it_prints_fits_and_the_list_shows_the_change(
    world: World, ran: Ran, kind: str
) -> None:
    done = ran("adapters", *MAKES[kind])
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert world.newest().uri in done.out
    assert "minus the first" in done.out
    listed = ran("adapters", "list")
    assert max(map(len, listed.out.splitlines())) <= 100
    line = next(line for line in listed.out.splitlines() if line.startswith(kind))
    metrics = world.newest().metrics
    change = metrics["evaluated_recall_at_20"] - metrics["parent_recall_at_20"]
    assert f"{change:+.4f}" in line


def test_a_gate_that_says_no_exits_with_1_and_keeps_nothing(world: World, ran: Ran) -> None:
    uri = world.adapt("books", {"adapt.epochs": 8, "adapt.rank": 8}).run
    before = world.runs()
    # Moved the other way, the base loses what the adapter gained.
    options = ("sum", uri, "--weights=-1", "--max-loss", "0.0001")
    done = ran("adapters", *options)
    assert done.code == 1
    assert "Not kept: recall@20 fell by" in done.err
    assert "not kept" in done.out
    assert world.runs() == before
    found = ran("adapters", *options, "--json")
    assert found.code == 1
    assert (found.json["kept"], found.json["run"]) == (False, None)


def test_a_gate_that_says_yes_exits_with_0_and_keeps_it(world: World, ran: Ran) -> None:
    done = ran("adapters", "quantize", "books", "--to", "fp16", "--max-loss", "1", "--json")
    assert (done.code, done.json["kept"]) == (0, True)
    assert world.newest().uri == done.json["run"]


def test_without_the_logs_it_is_made_and_not_measured(world: World, ran: Ran) -> None:
    world.logs.unlink()
    done = ran("adapters", "truncate", "books", "--rank", 1, "--json")
    assert (done.code, done.json["measured"]) == (0, None)
    assert "Nothing was measured" in done.err
    assert "evaluated_recall_at_20" not in world.newest().metrics


def test_a_gate_without_logs_to_measure_on_is_refused(world: World, ran: Ran) -> None:
    world.logs.unlink()
    before = world.runs()
    done = ran("adapters", "truncate", "books", "--rank", 1, "--max-loss", ".1")
    assert (done.code, done.out) == (2, "")
    assert "--data PATH" in done.err
    assert world.runs() == before


def test_other_logs_are_measured_on_where_they_are_named(world: World, ran: Ran) -> None:
    moved = world.folder / "moved.parquet"
    world.logs.rename(moved)
    done = ran("adapters", "truncate", "books", "--rank", 1, "--data", moved, "--json")
    assert done.json["measured"] is not None


def test_a_truncated_adapter_is_smaller_and_tells_what_was_kept(world: World, ran: Ran) -> None:
    done = ran("adapters", "truncate", "books", "--rank", 1, "--json")
    assert done.json["targets"] == "users:1,items:1,transform:1,bias"
    assert done.json["bytes_on_disk"] < done.json["bytes_on_disk_before"][0]
    kept = done.json["made_of"]["kept"]
    assert set(kept) == {"users", "items", "transform"}
    assert all(0 < share < 1 for share in kept.values())
    metrics = world.newest().metrics
    assert metrics["kept_items"] == pytest.approx(kept["items"])


def test_eight_bits_lie_on_disk_as_eight_bits(world: World, ran: Ran) -> None:
    done = ran("adapters", "quantize", "books", "--to", "int8", "--json")
    arrays = read_tensors(world.artifacts(done.json["run"]) / "adapter" / "adapter.safetensors")
    assert arrays["items.a"].dtype == np.int8
    assert done.json["bytes_on_disk"] < done.json["bytes_on_disk_before"][0]
    shown = ran("adapters", "show", done.json["run"], "--json").json
    assert (shown["storage"], shown["made_of"]["how"]) == ("int8", "quantize")
    assert ran("adapters", "show", done.json["run"]).code == 0


def test_quantising_twice_is_refused_with_the_parent(world: World, ran: Ran) -> None:
    made = ran("adapters", "quantize", "books", "--to", "int8", "--json").json["run"]
    before = world.runs()
    done = ran("adapters", "quantize", made, "--to", "fp16")
    assert (done.code, done.out) == (2, "")
    assert "in int8 already" in done.err
    assert str(world.run(world.adapter).tag("adapter_digest")) in done.err
    assert world.runs() == before


def test_a_sum_of_two_domains_is_of_the_first_and_beside_both(world: World, ran: Ran) -> None:
    movies = world.adapt("movies").run
    found = ran("adapters", "sum", "movies", "books", "--weights", "1,.3", "--json").json
    assert found["domain"] == "movies"
    assert list(found["measured"]) == [movies, world.adapter, "made"]
    assert found["made_of"]["weights"] == [1.0, 0.3]
    other = ran(
        "adapters", "sum", "movies", "books", "--weights", "1,.3", "--domain", "books", "--json"
    ).json
    assert (other["domain"], other["reference"]) == ("books", world.adapter)


def test_a_sum_may_be_truncated_at_once(world: World, ran: Ran) -> None:
    world.adapt("movies")
    options = ("sum", "books", "movies", "--weights", ".5,.5", "--rank", "2", "--json")
    found = ran("adapters", *options).json
    assert found["targets"] == "users:2,items:2,transform:2,bias"


def refused(world: World, done: Ended, *parts: str) -> None:
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize("weights", [".5", ".5,.5,.5"])
def test_a_weight_for_each_adapter_is_asked_for(world: World, ran: Ran, weights: str) -> None:
    done = ran("adapters", "sum", "books", "movies", "--weights", weights)
    refused(world, done, "2 adapters", "lorarec adapters sum books movies --weights .5,.5")


@pytest.mark.parametrize("weights", ["half,half", "", "1,,2"])
def test_weights_that_are_no_numbers_are_refused(world: World, ran: Ran, weights: str) -> None:
    refused(world, ran("adapters", "sum", "books", "--weights", weights), "--weights")


def test_adapters_of_two_bases_are_refused_with_both_digests(world: World, ran: Ran) -> None:
    done = ran("adapters", "sum", "books", world.other_adapter, "--weights", "1,1")
    digests = [world.load(base).digest for base in (world.base, world.other_base)]
    refused(world, done, *digests, "lorarec adapters list --domain games")


@pytest.mark.parametrize("rank", [-1, 0, 9])
def test_a_rank_out_of_range_is_refused(world: World, ran: Ran, rank: int) -> None:
    done = ran("adapters", "truncate", "books", "--rank", rank)
    refused(world, done, f"Rank {rank} is out of range. Expected 1 to 8")


def test_a_rank_that_cuts_nothing_is_refused(world: World, ran: Ran) -> None:
    done = ran("adapters", "truncate", "books", "--rank", 2)
    refused(world, done, "Nothing of users:2,items:2,transform:2,bias is above rank 2")


def test_a_domain_that_no_logs_have_is_refused(world: World, ran: Ran) -> None:
    done = ran("adapters", "sum", "books", "--weights", "1", "--domain", "bookz")
    refused(world, done, "Did you mean 'books'?")


def test_a_base_of_another_adapter_is_refused(world: World, ran: Ran) -> None:
    done = ran("adapters", "quantize", world.adapter, "--to", "int8", "--base", world.other_base)
    refused(world, done, world.load(world.base).digest, world.load(world.other_base).digest)


def test_a_merged_base_ranks_as_the_adapter(world: World, ran: Ran) -> None:
    done = ran("adapters", "merge", OUTSIDE, "--base", world.other_base, "--out", "own", "--json")
    base = load_base(world.folder / "own")
    assert done.json["base_digest"] == base.digest
    assert base.info.merged is not None
    assert base.info.merged.domain == OUTSIDE
    assert base.info.merged.base_digest == world.load(world.other_base).digest
    options = ("--domain", OUTSIDE, "--user", "u00057", "--json")
    shown: list[Any] = [
        ran("recommend", *options, "--base", *rest).json
        for rest in (
            (world.other_base, "--adapter", world.other_adapter),
            ("own", "--adapter", "none"),
        )
    ]
    assert [i["item"] for i in shown[0]["items"]] == [i["item"] for i in shown[1]["items"]]
    scores = [torch.tensor([i["score"] for i in each["items"]]) for each in shown]
    assert torch.allclose(*scores, atol=1e-4)


def test_a_merged_base_can_be_adapted_and_evaluated(world: World, ran: Ran) -> None:
    assert ran("adapters", "merge", "books", "--out", "own").code == 0
    assert ran("adapt", "--domain", "movies", "--base", "own").code == 0
    evaluate = ("evaluate", "--domain", "movies", "--base", "own", "--arms", "base,lora")
    assert ran(*evaluate).code == 0


def test_merging_prints_the_next_command_and_touches_no_run(world: World, ran: Ran) -> None:
    before = world.runs()
    done = ran("adapters", "merge", "books", "--out", "own")
    assert max(map(len, done.out.splitlines())) <= 100
    assert "Next: lorarec evaluate --domain books --base own --adapter none" in done.err
    assert world.runs() == before


def test_a_folder_that_holds_something_is_left_alone(world: World, ran: Ran) -> None:
    place = world.folder / "own"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    done = ran("adapters", "merge", "books", "--out", place)
    refused(world, done, "not empty")
    assert [file.name for file in place.iterdir()] == ["notes.txt"]
