"""`lorarec adapters export` and `import`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from world import OUTSIDE, Ended, World

from lorarec.lora.adapter import load_adapter
from lorarec.tracking.registry import newest

Ran = Callable[..., Ended]


@pytest.fixture
def folder(world: World, ran: Ran) -> str:
    done = ran("adapters", "export", "books", "--out", "books-peft", "--rest", "beside")
    assert done.code == 0
    return "books-peft"


@pytest.mark.parametrize("command", ["export", "import"])
def test_help_shows_an_example(ran: Ran, command: str) -> None:
    done = ran("adapters", command, "-h")
    assert done.code == 0
    assert f"lorarec adapters {command} books" in done.out.split("Example:")[1]
    assert max(map(len, done.out.splitlines())) <= 100


def test_export_tells_modules_sizes_and_what_peft_does_not_hold(world: World, ran: Ran) -> None:
    before = world.runs()
    done = ran("adapters", "export", "books", "--out", "a", "--format", "peft", "--rest", "drop")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert "Not in PEFT's files: bias" in done.err
    assert "The transform is in the items' rows" in done.err
    found = ran("adapters", "export", "books", "--out", "b", "--rest", "drop", "--json").json
    base = world.load(world.base)
    # Rank 2 of its own and 2 of the transform.
    assert found["modules"]["items"]["a"] == [4, len(base.items)]
    assert found["modules"]["users"]["a"] == [2, len(base.users)]
    assert found["bytes_on_disk"] == sum(
        file.stat().st_size for file in (world.folder / "b").iterdir()
    )
    assert world.runs() == before


def test_a_rest_without_a_word_is_refused_and_nothing_is_written(world: World, ran: Ran) -> None:
    done = ran("adapters", "export", "books", "--out", "books-peft")
    assert (done.code, done.out) == (2, "")
    assert "--rest beside" in done.err
    assert not (world.folder / "books-peft").exists()


def test_an_import_scores_as_the_exported_adapter(world: World, ran: Ran, folder: str) -> None:
    done = ran("adapters", "import", folder, "--json")
    assert done.code == 0
    run = world.newest()
    assert (run.uri, run.kind, run.status) == (done.json["run"], "peft-import", "FINISHED")
    base = world.load(world.base)
    before, after = (
        load_adapter(world.artifacts(uri) / "adapter", base) for uri in (world.adapter, run.uri)
    )
    assert run.tag("adapter_digest") == after.info.digest == done.json["adapter_digest"]
    assert (after.info.domain, run.tag("base_run")) == ("books", world.base)
    assert after.info.made_of is not None
    assert after.info.made_of.parents == [before.info.digest]
    rows = torch.arange(min(len(before.users), len(before.items)))
    assert torch.allclose(after.model.score(rows, rows), before.model.score(rows, rows), atol=1e-4)


def test_it_is_measured_beside_the_base_as_evaluate_does(
    world: World, ran: Ran, folder: str
) -> None:
    found = ran("adapters", "import", folder, "--json").json
    options = ("--on", "valid", "--arms", "base,lora", "--k", "20", "--adapter", found["run"])
    table = ran("evaluate", "--domain", "books", *options, "--json").json["table"]
    for row, arm in zip(table, ("base", "made"), strict=True):
        assert row["recall_at_20"] == pytest.approx(found["measured"][arm]["recall_at_20"])
    metrics = world.run(found["run"]).metrics
    assert metrics["evaluated_recall_at_20"] == found["measured"]["made"]["recall_at_20"]
    assert metrics["base_recall_at_20"] == found["measured"]["base"]["recall_at_20"]


@pytest.mark.parametrize(("rest", "same"), [("beside", True), ("drop", False)])
def test_grown_rows_come_along_or_are_left_out_with_a_word(
    world: World, ran: Ran, rest: str, same: bool
) -> None:
    options = ("--base", world.other_base, "--out", "out", "--rest", rest)
    assert ran("adapters", "export", OUTSIDE, *options).code == 0
    done = ran("adapters", "import", "out", "--json")
    assert done.code == 0
    assert ("Left out when it was exported: bias" in done.err) is not same
    before = world.run(world.other_adapter).metrics["parameters_grown"]
    assert before > 0
    assert world.newest().metrics["parameters_grown"] == (before if same else 0)
    ranked = {}
    for uri in (world.other_adapter, done.json["run"]):
        named = ("--domain", OUTSIDE, "--base", world.other_base, "--adapter", uri)
        arms = ("--on", "valid", "--arms", "lora", "--k", "20", "--json")
        ranked[uri] = ran("evaluate", *named, *arms).json["table"][0]["ndcg_at_20"]
    assert (ranked[world.other_adapter] == pytest.approx(ranked[done.json["run"]])) is same


def test_what_it_prints_fits_and_lists_show_it(world: World, ran: Ran, folder: str) -> None:
    done = ran("adapters", "import", folder)
    assert max(map(len, done.out.splitlines())) <= 100
    made = world.newest()
    assert made.uri in done.out
    line = next(
        line for line in ran("adapters", "list").out.splitlines() if line.startswith("peft-import")
    )
    assert f"{made.metrics['evaluated_recall_at_20']:.4f}" in line
    assert ran("adapters", "show", made.uri).code == 0
    assert newest(world.store, "adapt", domain="books").uri == world.adapter  # type: ignore[union-attr]


def test_an_import_onto_another_base_is_refused(world: World, ran: Ran, folder: str) -> None:
    before = world.runs()
    done = ran("adapters", "import", folder, "--base", world.other_base)
    assert (done.code, done.out) == (2, "")
    assert all(world.load(base).digest in done.err for base in (world.base, world.other_base))
    assert world.runs() == before


def test_a_folder_without_a_note_asks_for_domain_and_base(
    world: World, ran: Ran, folder: str
) -> None:
    (world.folder / folder / "lorarec.json").unlink()
    done = ran("adapters", "import", folder)
    assert (done.code, "--domain D" in done.err) == (2, True)
    done = ran("adapters", "import", folder, "--domain", "books")
    assert (done.code, "--base URI" in done.err) == (2, True)
    done = ran("adapters", "import", folder, "--domain", "books", "--base", world.base, "--json")
    assert done.code == 0
    assert "names no base and no ids" in done.err
    assert world.newest().tag("leak") == "unknown"
    assert "bias" not in done.json["targets"]


def test_a_domain_that_no_logs_have_is_refused(world: World, ran: Ran, folder: str) -> None:
    done = ran("adapters", "import", folder, "--domain", "bookz")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'books'?" in done.err


def test_a_pair_that_is_none_is_refused(world: World, ran: Ran, folder: str) -> None:
    done = ran("adapters", "import", folder, "--name", "items")
    assert (done.code, "no PART=NAME" in done.err) == (2, True)


def test_the_config_is_what_peft_reads(world: World, folder: str) -> None:
    config = json.loads((world.folder / folder / "adapter_config.json").read_text())
    assert config["target_modules"] == "(users|items)"
    assert (config["r"], config["rank_pattern"]) == (4, {"^users": 2})
    assert (config["use_rslora"], config["lora_alpha"]) == (True, 1)
