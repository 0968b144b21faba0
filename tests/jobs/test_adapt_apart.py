"""Domains adapted to by workers: the adapters and the runs are those of one process."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import DOMAINS, Words, World, copied

from lorarec.config import Settings
from lorarec.errors import WorkerLostError
from lorarec.fanout.engines import engine_named
from lorarec.fanout.job import Done, Engine
from lorarec.fanout.serial import SerialEngine
from lorarec.jobs import adapt_domains as job
from lorarec.jobs.adapt_apart import Parts, begin, gathered, packed
from lorarec.jobs.adapt_domains import AdaptedDomains, adapt_domains
from lorarec.jobs.choose import choose_base
from lorarec.jobs.listener import SILENT, Listener
from lorarec.models.artefact import WEIGHTS, load_base, mapped_weights
from lorarec.storage import read_json, sha256_file
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import nested_runs, runs_of
from lorarec.training.loop import Progress

GRID = {"adapt.learning_rate_grid": [0.3, 1.0]}
NOT_OF_TRAINING = ("train_seconds", "process/cpu_seconds", "process/peak_memory_megabytes")


def fanned(world: World, engine: Engine, **keywords: Any) -> AdaptedDomains:
    """A pass over all domains by another engine."""
    settings = world.settings.with_options(GRID)
    return adapt_domains(settings, None, world.store, engine=engine, **keywords)


def runs_under(world: World, found: AdaptedDomains) -> dict[str | None, RunInfo]:
    """The runs of a pass by domain."""
    return {run.domain: run for run in nested_runs(world.store, found.run.removeprefix("runs:/"))}


class InProcess:
    """Workers' functions without workers, so that what they do is seen here."""

    here = True

    def __init__(self) -> None:
        self.map = SerialEngine().map


@pytest.fixture(scope="module")
def both(
    world_template: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[World, AdaptedDomains, AdaptedDomains]:
    """A world, adapted to in this process, and by two workers of which one is killed early on."""
    world = copied(world_template, tmp_path_factory.mktemp("both"))
    alone = adapt_domains(world.settings.with_options(GRID), None, world.store)

    def kill_one() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        time.sleep(1.0)
        children[0].kill()

    threading.Thread(target=kill_one, daemon=True).start()
    return world, alone, fanned(world, engine_named("spawn", workers=2))


def test_workers_make_the_adapters_of_one_process_to_the_bit(
    both: tuple[World, AdaptedDomains, AdaptedDomains],
) -> None:
    world, alone, apart = both
    assert [outcome.domain for outcome in apart.done] == sorted(DOMAINS)
    for one, other in zip(alone.done, apart.done, strict=True):
        assert other.adapter_digest == one.adapter_digest
        files = [world.artifacts(run) / "adapter" / "adapter.safetensors" for run in
                 (one.run, other.run)]  # fmt: skip
        assert sha256_file(files[0]) == sha256_file(files[1])
        assert other.metrics == one.metrics


def test_their_runs_are_those_of_one_process(
    both: tuple[World, AdaptedDomains, AdaptedDomains],
) -> None:
    world, alone, apart = both
    one, other = runs_under(world, alone), runs_under(world, apart)
    assert {run.status for run in other.values()} == {"FINISHED"}
    client = world.store.client
    for domain in DOMAINS:
        first, second = (
            client.get_run(runs[domain].uri.removeprefix("runs:/")) for runs in (one, other)
        )
        assert second.data.params == first.data.params
        assert second.data.tags.keys() == first.data.tags.keys()
        assert second.data.tags["lorarec.recipe"] == first.data.tags["lorarec.recipe"]
        kept = [
            {k: v for k, v in run.data.metrics.items() if k not in NOT_OF_TRAINING}
            for run in (first, second)
        ]
        assert kept[0] == kept[1]
        assert second.data.metrics.keys() == first.data.metrics.keys()
        assert second.inputs.to_dictionary() == first.inputs.to_dictionary()
        curves = [
            [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train_loss")]
            for run in (first, second)
        ]
        assert curves[0] == curves[1] != []
        assert second.info.end_time >= second.info.start_time
        files = [
            sorted(str(p.relative_to(root)) for p in root.rglob("*"))
            for root in (world.artifacts(runs[domain].uri) for runs in (one, other))
        ]
        assert files[0] == files[1]
    table = read_json(world.artifacts(apart.run) / "domains.json")
    assert table["done"] == apart.record()["done"]


def test_one_that_cannot_be_trained_leaves_the_others_and_a_failed_run(world: World) -> None:
    frame = world.frame.with_columns(
        weight=pl.when(pl.col("domain") == "games").then(0.0).otherwise(1.0)
    )
    world.pretrain(frame, exclude=["games"])
    words = Words()
    found = fanned(world, InProcess(), listen=words.listener)
    assert "weigh 0" in found.failed["games"]
    assert "Warning: games was not adapted to" in words
    statuses = {domain: run.status for domain, run in runs_under(world, found).items()}
    assert statuses == {"books": "FINISHED", "games": "FAILED", "movies": "FINISHED"}


def test_a_domain_that_kills_its_workers_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job.map_domains

    @contextmanager
    def losing(*arguments: Any) -> Iterator[Iterator[Done[Any]]]:
        lost = WorkerLostError("3 workers ended (by SIGKILL).")
        with whole(*arguments) as each:
            yield (Done("games", error=lost) if one.domain == "games" else one for one in each)

    monkeypatch.setattr(job, "map_domains", losing)
    found = fanned(world, InProcess())
    assert found.failed == {"games": "3 workers ended (by SIGKILL)."}
    assert [outcome.domain for outcome in found.done] == ["books", "movies"]


def test_large_domains_are_begun_first_and_progress_is_of_all(world: World) -> None:
    steps: list[Progress] = []
    begun: list[tuple[str, int]] = []
    listen = Listener(begin=lambda *told: begun.append(told), step=steps.append)
    found = fanned(world, InProcess(), listen=listen)
    rows = {outcome.domain: outcome.train_rows for outcome in found.done}
    assert begun == [("adapt 3 domains", sum(rows.values()))]
    assert [step.rows for step in steps] == sorted(rows.values(), reverse=True)


def parts(world: World, settings: Settings | None = None) -> Parts:
    """A pass on the world's newest base."""
    settings = settings or world.settings
    chosen = choose_base(world.store, None, SILENT)
    frame, source = chosen.base.info.data.read_again(chosen.base.info.split)
    return Parts(settings, job.shape(settings, chosen.base), chosen, source, "0" * 32, frame)


def test_a_worker_without_this_disk_learns_the_same(world: World) -> None:
    ready = parts(world)
    near, far = ready.job(here=True), ready.job(here=False)
    assert not isinstance(far.shared.base, Path)
    for array in (*far.shared.base.weights.values(), *far.shared.base.files.values()):
        array.setflags(write=False)  # as Ray hands them over
    learnt = [begin(one.shared)("books", one.part("books")).outcome for one in (near, far)]
    assert learnt[0] is not None
    assert learnt[1] is not None
    assert learnt[0].adapter_digest == learnt[1].adapter_digest


def test_a_worker_gets_the_rows_of_its_domain_alone(world: World) -> None:
    assert set(parts(world).job(True).part("games")["domain"]) == {"games"}


def test_an_error_of_any_kind_leaves_a_failed_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import adapt

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(adapt, "search", broken)
    one = parts(world).job(True)
    learnt = begin(one.shared)("books", one.part("books"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        gathered(learnt, world.store, SILENT)
    assert world.newest().status == "FAILED"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_weights_are_mapped_and_not_copied(world: World) -> None:
    folder = world.artifacts(world.base) / "base"
    base = load_base(folder, mapped_weights(folder))
    assert str(folder / WEIGHTS) in Path("/proc/self/maps").read_text()
    plain = load_base(folder)
    assert bool(torch.equal(base.model.items.weight, plain.model.items.weight))
    assert base.digest == plain.digest


def test_all_of_a_base_is_packed(world: World) -> None:
    found = packed(world.artifacts(world.base) / "base")
    assert {"base.json", "users.parquet", "items.parquet"} <= found.files.keys()
    assert all(array.dtype == np.uint8 for array in found.files.values())


def test_ray_makes_the_same_adapters(world: World) -> None:
    pytest.importorskip("ray")
    found = fanned(world, engine_named("ray", workers=2))
    alone = adapt_domains(world.settings.with_options(GRID), None, world.store)
    assert [one.adapter_digest for one in found.done] == [one.adapter_digest for one in alone.done]
    assert len(list(runs_of(world.store, "adapt-all"))) == 2
