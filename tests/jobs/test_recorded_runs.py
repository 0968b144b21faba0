"""What every run says of itself, read back from MLflow: nothing that is promised is missing."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import polars as pl
import pytest
from world import World

from lorarec.evaluation.evaluate import RECALL_DENOMINATOR
from lorarec.jobs.evaluate import evaluate
from lorarec.tracking.runs import TAG


def datasets(world: World, uri: str) -> list[tuple[Any, str]]:
    """The data sets of a run and what they were used for."""
    inputs = world.store.client.get_run(uri.removeprefix("runs:/")).inputs.dataset_inputs
    return [(each.dataset, each.tags[0].value) for each in inputs]


@pytest.fixture
def evaluated(world: World) -> str:
    settings = world.settings.with_options({"evaluate.arms": "popularity,base,lora"})
    return evaluate(settings, "books", world.store).run


def test_an_adapter_says_what_it_is_of(world: World) -> None:
    run, base = world.run(world.adapter), world.load(world.base)
    tags = {key.removeprefix(TAG): value for key, value in run.tags.items()}
    assert tags["kind"] == "adapt"
    assert tags["domain"] == "books"
    assert (tags["base_run"], tags["base_digest"]) == (world.base, base.digest)
    record = json.loads((world.artifacts(run.uri) / "adapter" / "adapter.json").read_text())
    assert tags["adapter_digest"] == record["digest"]
    assert tags["data_digest"] == base.info.data.digest
    assert (tags["split"], tags["cutoff"]) == ("time", str(base.info.split.t_test))
    assert tags["device"] == "cpu"
    assert (run.params["domain"], run.params["rank"], run.metrics["rank"]) == ("books", "2", 2)
    assert run.params["train.epochs"] == "2"


@pytest.mark.parametrize("name", ["base", "adapter"])
def test_the_logs_are_an_input_by_their_own_digest(world: World, name: str) -> None:
    run = world.run(getattr(world, name))
    ((dataset, context),) = datasets(world, run.uri)
    digest = world.load(world.base).info.data.digest
    assert (dataset.name, context) == ("logs.parquet", "training")
    assert dataset.digest == digest[:36]
    assert json.loads(dataset.source)["digest"] == digest == run.tag("data_digest")
    assert json.loads(dataset.profile)["rows"] == world.frame.height


def test_other_logs_are_another_input(world: World) -> None:
    turned = world.pretrain(world.frame.reverse())
    ((dataset, _),) = datasets(world, turned.run)
    assert dataset.name == "other.parquet"
    assert dataset.digest != datasets(world, world.base)[0][0].digest  # rows in another order


def test_an_evaluation_says_how_it_was_measured_and_on_what(world: World, evaluated: str) -> None:
    run = world.run(evaluated)
    assert run.tag("recall_denominator") == RECALL_DENOMINATOR
    assert run.tag("part") == "test"
    assert [context for _, context in datasets(world, evaluated)] == ["evaluation"]
    per_user = pl.read_parquet(world.artifacts(evaluated) / "per_user" / "lora.parquet")
    assert per_user["recall_at_20"].mean() == pytest.approx(run.metrics["lora_recall_at_20"])


def test_the_environment_and_what_was_taken_of_the_machine_are_kept(world: World) -> None:
    folder = world.artifacts(world.adapter)
    found = json.loads((folder / "environment.json").read_text())
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == version("torch")
    assert json.loads((folder / "config.json").read_text())["adapt"]["epochs"] == 3
    metrics = world.run(world.adapter).metrics
    assert metrics["process/cpu_seconds"] > 0
    assert metrics["process/peak_memory_megabytes"] > 50


def test_the_learning_curve_is_there_and_ends_at_what_was_kept(world: World) -> None:
    client, run = world.store.client, world.run(world.adapter)
    curve = client.get_metric_history(run.run_id, "valid_recall_at_20")
    assert {point.step for point in curve} >= {0, 1}
    last = max(curve, key=lambda point: point.step)
    assert last.value == run.metrics["valid_recall_at_20"]
