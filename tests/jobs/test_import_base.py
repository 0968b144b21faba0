"""A foreign model as a base: recorded, adapted, evaluated, and refused where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from threadpoolctl import threadpool_limits
from world import Words, World

from lorarec.data.interactions import Interactions
from lorarec.data.splits import apply_split
from lorarec.errors import DataError, NotFoundError
from lorarec.jobs import import_base as job
from lorarec.jobs.foreign import Stated
from lorarec.jobs.import_base import import_base
from lorarec.jobs.leakage import parse_until
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.models.importing.implicit_model import from_implicit
from lorarec.models.origin import leak_of
from lorarec.storage import sha256_file
from lorarec.tracking.registry import newest_base

AS_IT_IS = Stated(trained_until="train", scale=1.0)


@pytest.fixture
def als(world: World) -> Any:
    """implicit's ALS on the train rows of the world's own split, rows as the base has them."""
    with threadpool_limits(1, "blas"):
        from implicit.cpu.als import AlternatingLeastSquares

        base = world.load(world.base)
        frame = apply_split(read(world), base.info.split).filter(pl.col("split") == "train")
        pairs = Interactions.from_frame(frame, base.users, base.items).csr()
        model = AlternatingLeastSquares(factors=8, iterations=5, num_threads=1, random_state=0)
        model.fit(pairs, show_progress=False)
    return model


def read(world: World) -> pl.DataFrame:
    return world.load(world.base).info.data.read()[0]


@pytest.fixture
def saved(world: World, als: Any) -> str:
    als.save("als.npz")
    base = world.load(world.base)
    Path("users.txt").write_text("\n".join(base.users.ids) + "\n")
    base.items.series.to_frame("item_id").write_csv("items.csv")
    return "als.npz"


def imported(world: World, model: Any, stated: Stated = AS_IT_IS, **more: Any) -> job.Imported:
    model = [model] if isinstance(model, str) else model
    return import_base(world.settings, model, [world.logs], world.store, stated, **more)


def test_a_saved_model_keeps_its_top_k_by_id(world: World, als: Any, saved: str) -> None:
    stated = replace(AS_IT_IS, user_ids=Path("users.txt"), item_ids=Path("items.csv"), scale=None)
    base = world.load(imported(world, saved, stated).run)
    ids, _ = als.recommend(np.arange(40), None, N=10, filter_already_liked_items=False)
    users = base.model.user_vectors(torch.arange(40))
    top = (users @ base.model.item_vectors(torch.arange(len(base.items))).T).topk(10).indices
    known = world.load(world.base)
    assert (base.items.ids[top.numpy()] == known.items.ids[ids]).all()
    assert base.users == known.users


def test_the_record_says_where_it_comes_from(world: World, saved: str) -> None:
    run = imported(world, saved).run
    info, recorded = world.load(run).info, world.run(run)
    assert info.origin is not None
    assert info.origin.files == {"als.npz": sha256_file("als.npz")}
    assert (info.origin.source, info.origin.kind) == ("als.npz", "implicit ALS")
    assert (info.origin.leak, info.origin.scale) == ("none", 1.0)
    assert (recorded.kind, recorded.status) == ("import", "FINISHED")
    assert recorded.tag("source_digest") == sha256_file("als.npz")
    assert recorded.tag("base_digest") == info.digest
    assert recorded.metrics["valid_ndcg"] == pytest.approx(info.metrics["valid_ndcg"])
    split = json.loads((world.artifacts(run) / "split.json").read_text())
    assert split["t_valid"] == world.load(world.base).info.split.t_valid


def test_a_live_model_is_the_saved_one(world: World, als: Any, saved: str) -> None:
    live = imported(world, from_implicit(als)).base
    assert live.digest == imported(world, saved).base.digest


def test_an_adapter_on_it_helps_and_it_is_the_newest_base(world: World, saved: str) -> None:
    words = Words()
    run = imported(world, saved, replace(AS_IT_IS, scale=None), listen=words.listener).run
    assert "which changes no ranking" in words
    found = newest_base(world.store)
    assert found is not None
    assert found.uri == run
    done = world.adapt("books", {"adapt.epochs": 6})
    assert done.adapter.info.base_digest == world.load(run).digest
    assert done.adapter.info.metrics["valid_ndcg"] > done.untrained["valid_ndcg"]


def test_without_ids_the_order_of_the_data_is_taken_and_said(world: World, saved: str) -> None:
    words = Words()
    base = imported(world, saved, listen=words.listener).base
    assert "taken to be in the order in which the train rows show them" in words
    assert base.info.origin is not None
    assert "train rows" in base.info.origin.ids
    assert base.items == world.load(world.base).items


def test_a_prepared_data_set_gives_its_own_order(world: World, ran: Callable[..., Any]) -> None:
    assert ran("data", "prepare", world.logs, "prepared").code == 0
    users, items = (world.frame[name].n_unique() for name in ("user_id", "item_id"))
    rng = np.random.default_rng(0)
    factors = factors_of(
        {"users": rng.normal(size=(users, 4)), "items": rng.normal(size=(items, 4))}, "npz", "m"
    )
    done = import_base(world.settings, factors, [Path("prepared")], world.store, AS_IT_IS)
    assert done.base.info.origin is not None
    assert done.base.info.origin.ids == "the prepared data set's order"
    assert len(done.base.users) == users


def some(world: World, count: int = 5) -> Factors:
    base = world.load(world.base)
    ids = {"user_ids": base.users.series.head(count), "item_ids": base.items.series.head(count)}
    vectors = np.random.default_rng(0).normal(size=(2, count, 3))
    return factors_of({"users": vectors[0], "items": vectors[1], **ids}, "npz", "m")


def test_ids_that_the_model_does_not_know_are_counted_and_grown(world: World) -> None:
    words = Words()
    done = imported(world, some(world), listen=words.listener)
    assert done.known["users"][0] == 5
    assert "items are unknown to the imported model" in words
    adapter = world.adapt("books").adapter
    assert len(adapter.items) > 5


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: replace(f, user_ids=None), "no user ids. Expected both: --user-ids FILE"),
        (lambda f: replace(f, user_ids=None, item_ids=None), "5 users and 5 items and no ids"),
        (
            lambda f: replace(f, item_ids=type(f.item_ids)(["v", "w", "x", "y", "z"])),
            "items is known to the imported model, whose ids begin with 'v', 'w', 'x'",
        ),
    ],
)
def test_ids_that_do_not_fit_are_refused_and_leave_no_run(
    world: World, harm: Callable[[Factors], Factors], said: str
) -> None:
    before = world.runs()
    with pytest.raises(DataError, match=said):
        imported(world, harm(some(world)))
    assert world.runs() == before


def test_ids_of_a_file_must_fit_the_rows(world: World, saved: str) -> None:
    Path("few.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"2 user ids for the \d+ user rows"):
        imported(world, saved, replace(AS_IT_IS, user_ids=Path("few.txt")))
    with pytest.raises(DataError, match="has user ids of its own"):
        imported(world, some(world), replace(AS_IT_IS, user_ids=Path("few.txt")))


def test_a_model_that_has_seen_validation_is_refused_unless_accepted(world: World) -> None:
    t_valid = world.load(world.base).info.split.t_valid
    assert t_valid is not None
    late, before = Stated(trained_until=t_valid + 1, scale=1.0), world.runs()
    with pytest.raises(DataError, match=r"has seen held-out rows.*--accept-leak"):
        imported(world, some(world), late)
    assert world.runs() == before
    words = Words()
    run = imported(world, some(world), replace(late, accept_leak=True)).run
    world.adapt("books", listen=words.listener)
    assert world.run(run).tag("leak") == "yes"
    assert "Warning: the base is imported" in words
    on_time = imported(world, some(world), replace(late, trained_until=t_valid)).base
    assert on_time.info.origin is not None
    assert on_time.info.origin.leak == "none"


def test_an_unknown_end_of_training_is_said_and_recorded(world: World) -> None:
    words = Words()
    run = imported(world, some(world), Stated(scale=1.0), listen=words.listener).run
    assert "it is not known until when the model was trained" in words
    assert world.run(run).tag("leak") == "unknown"


def test_a_date_tells_nothing_of_a_split_that_is_not_by_time(world: World) -> None:
    split = world.load(world.base).info.split
    drawn = split.model_copy(update={"used": "random", "t_valid": None})
    assert leak_of(drawn, 0) == "unknown"
    assert leak_of(drawn, "train") == "none"


def test_dates_are_utc_and_others_are_refused() -> None:
    assert parse_until("1970-01-02") == parse_until("1970-01-02T01:00+01:00") == 86400
    assert parse_until("train") == "train"
    with pytest.raises(DataError, match="'yesterday' is no date"):
        parse_until("yesterday")


def test_ids_in_a_wrong_order_are_noticed(world: World, als: Any) -> None:
    words = Words()
    rng = np.random.default_rng(0)
    als.item_factors = rng.permutation(als.item_factors) * np.float32(1e-4)
    als.user_factors = rng.normal(size=als.user_factors.shape).astype(np.float32)
    imported(world, from_implicit(als), Stated(trained_until="train"), listen=words.listener)
    assert "the imported scores say nothing of the train rows" in words


def test_a_base_of_lorarec_is_bound_to_other_logs_as_it_is(world: World) -> None:
    done = imported(world, world.base, Stated())
    origin = done.base.info.origin
    assert origin is not None
    assert (done.base.digest, origin.leak) == (world.load(world.base).digest, "none")
    assert origin.trained_until == world.load(world.base).info.split.t_valid
    assert world.load(done.run).domain_bias.keys() == world.load(world.base).domain_bias.keys()
    with pytest.raises(DataError, match="Expected no --scale"):
        imported(world, world.base, AS_IT_IS)


def test_a_file_of_a_run_is_found_by_its_uri(world: World, saved: str) -> None:
    place = world.artifacts(world.base) / "models" / "als.npz"
    place.parent.mkdir()
    Path(saved).rename(place)
    base = imported(world, f"{world.base}/models/als.npz").base
    assert base.info.origin is not None
    assert base.info.origin.source == f"{world.base}/models/als.npz"
    assert imported(world, f"{world.base}/models").base.digest == base.digest
    with pytest.raises(NotFoundError, match=r"has no artifact 'models/other\.npz'"):
        imported(world, f"{world.base}/models/other.npz")


def test_a_failure_while_saving_leaves_nothing_half_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Any, folder: Path) -> None:
        (folder / "base.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "save_base", half)
    with pytest.raises(Exception, match="disk is full"):
        imported(world, some(world))
    run = world.newest()
    assert (run.kind, run.status) == ("import", "FAILED")
    kept = {path.name for path in world.artifacts(run.uri).iterdir()}
    assert kept == {"config.json", "environment.json"}
