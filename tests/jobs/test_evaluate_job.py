"""Evaluating arms: the same users for all, full ranking, one recorded run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, Words, World

from lorarec.data.logs import load_logs
from lorarec.data.splits import apply_split
from lorarec.errors import ArtifactError, ConfigError, DataError, LorarecError, NotFoundError
from lorarec.jobs.evaluate import Evaluated, evaluate
from lorarec.jobs.listener import SILENT, Listener
from lorarec.storage import read_json, write_json
from lorarec.tracking.registry import recent_runs

CHEAP = {"evaluate.arms": "popularity,base,lora"}
"""All arms but the one that is trained."""


def run(
    world: World,
    domain: str = "books",
    settings: dict[str, Any] | None = None,
    listen: Listener = SILENT,
    **choices: Any,
) -> Evaluated:
    chosen = world.settings.with_options(CHEAP | (settings or {}))
    return evaluate(chosen, domain, world.store, listen=listen, **choices)


def count(world: World, kind: str) -> int:
    return sum(info.kind == kind for info in recent_runs(world.store, 100))


def split_column(frame: pl.DataFrame, *values: str) -> pl.DataFrame:
    """A column `split` of these values in turn, by row."""
    cycle = pl.Series(values).gather([n % len(values) for n in range(frame.height)])
    return frame.with_columns(split=cycle)


def recall_by_hand(
    world: World, domain: str, part: str, seen: set[str], k: int
) -> dict[str, float]:
    """Recall of the bare base by user, from its tables alone; users it knows."""
    base = world.load(world.base)
    rows = apply_split(load_logs([world.logs]), base.info.split)
    rows = rows.filter(pl.col("domain") == domain)
    catalogue = sorted(set(rows.filter(pl.col("split") == "train")["item_id"]))
    items = torch.from_numpy(base.items.rows(catalogue))
    vectors, bias = base.model.item_vectors(items), base.model.item_bias(items)
    found = {}
    for (user,), own in rows.group_by("user_id"):
        held = set(own.filter(pl.col("split") == part)["item_id"])
        if not held or str(user) not in base.users.ids:
            continue
        had = set(own.filter(pl.col("split").is_in(seen))["item_id"])
        row = torch.from_numpy(base.users.rows([str(user)]))
        scores = base.model.user_vectors(row) @ vectors.T
        scores = scores if bias is None else scores + bias
        ranked = [catalogue[n] for n in scores[0].argsort(descending=True).tolist()]
        best = [item for item in ranked if item not in had][:k]
        found[str(user)] = len(held & set(best)) / len(held)
    return found


@pytest.mark.parametrize(("part", "seen"), [("test", {"train", "valid"}), ("valid", {"train"})])
def test_recall_is_hits_of_held_out_after_what_was_seen_is_removed(
    world: World, part: str, seen: set[str]
) -> None:
    found = run(world, part=part)
    ours = dict(
        zip(found.users.to_list(), found.results["base"].per_user["recall_at_10"], strict=True)
    )
    expected = recall_by_hand(world, "books", part, seen, 10)
    assert len(expected) > 20
    assert {user: ours[user] for user in expected} == pytest.approx(expected)


def test_arms_come_in_the_order_asked_for(world: World) -> None:
    found = run(world, settings={"evaluate.arms": "lora,popularity,base"})
    assert list(found.results) == ["lora", "popularity", "base"]


def test_all_arms_share_their_users(world: World) -> None:
    results = run(world, settings={"evaluate.arms": "popularity,base,lora,full"}).results.values()
    first = next(iter(results))
    assert len(results) == 4
    assert all(np.array_equal(result.users, first.users) for result in results)
    assert len({json.dumps(result.to_json()["counts"]["users"]) for result in results}) == 1


def test_every_user_with_held_out_items_is_there_cold_ones_too(world: World) -> None:
    found = run(world)
    rows = apply_split(load_logs([world.logs]), world.load(world.base).info.split)
    books = rows.filter(pl.col("domain") == "books")
    held = set(books.filter(pl.col("split") == "test")["user_id"])
    known = set(books.filter(pl.col("split") == "train")["user_id"])
    assert set(found.users) == held
    assert found.results["base"].counts.cold_users == len(held - known)


def test_each_arm_is_compared_with_the_base(world: World) -> None:
    found = run(world)
    assert set(found.differences) == {"popularity", "lora"}
    means = {a: r.intervals["recall_at_20"].mean for a, r in found.results.items()}
    difference = found.differences["lora"]["recall_at_20"].interval.mean
    assert difference == pytest.approx(means["lora"] - means["base"])


def test_without_the_base_there_is_nothing_to_compare_with(world: World) -> None:
    assert run(world, settings={"evaluate.arms": "popularity,lora"}).differences == {}


def test_the_run_is_tagged_with_all_that_the_numbers_depend_on(world: World) -> None:
    found, base = world.run(run(world).run), world.run(world.base)
    assert (found.kind, found.status, found.domain, found.rank) == (
        "evaluate",
        "FINISHED",
        "books",
        2,
    )
    assert (found.tag("base_run"), found.tag("recall_denominator")) == (world.base, "held-out")
    assert (found.tag("part"), found.part) == ("test", "test")
    for name in ("base_digest", "data_digest", "split", "cutoff"):
        assert found.tag(name) == base.tag(name)
    assert found.tag("adapter_digest") == world.run(world.adapter).tag("adapter_digest")


def test_the_params_say_part_and_arms(world: World) -> None:
    params = world.run(run(world, part="valid").run).params
    assert (params["domain"], params["part"]) == ("books", "valid")
    assert params["evaluated_arms"] == "popularity,base,lora"
    assert params["targets"] == "users:2,items:2,transform:2,bias"
    assert "targets" not in world.run(run(world, adapter="none").run).params
    assert params["evaluate.k"] == "10,20,50"


def test_the_metrics_of_the_run_are_those_of_the_arms(world: World) -> None:
    found = run(world)
    metrics = world.run(found.run).metrics
    for arm, result in found.results.items():
        mean = result.intervals["recall_at_20"].mean
        assert metrics[f"{arm}_recall_at_20"] == pytest.approx(mean)


def test_per_user_values_are_kept_for_each_arm_in_the_same_order(world: World) -> None:
    found = run(world)
    folder = world.artifacts(found.run) / "per_user"
    frames = {path.stem: pl.read_parquet(path) for path in folder.iterdir()}
    assert set(frames) == set(found.results)
    for arm, frame in frames.items():
        assert frame["user_id"].to_list() == found.users.to_list()
        assert frame["recall_at_10"].mean() == pytest.approx(
            found.results[arm].intervals["recall_at_10"].mean
        )


def test_the_report_is_an_artifact(world: World) -> None:
    found = run(world, part="valid")
    report = json.loads((world.artifacts(found.run) / "evaluation.json").read_text())
    assert (report["domain"], report["part"]) == ("books", "valid")
    assert set(report["arms"]) == {"popularity", "base", "lora"}
    assert report["arms"]["lora"]["recall_denominator"] == "held-out"
    assert report["arms"]["lora"]["catalogue"] == "domain"


def test_the_report_has_the_paired_differences(world: World) -> None:
    found = run(world)
    report = json.loads((world.artifacts(found.run) / "evaluation.json").read_text())
    assert set(report["minus_base"]) == {"popularity", "lora"}
    for arm, differences in found.differences.items():
        assert set(report["minus_base"][arm]) == set(differences)
    ours = found.differences["lora"]["recall_at_20"]
    assert report["minus_base"]["lora"]["recall_at_20"] == pytest.approx(
        {
            "mean": ours.interval.mean,
            "low": ours.interval.low,
            "high": ours.interval.high,
            "p_value": ours.p_value,
        }
    )


def test_the_arm_full_is_trained_once_recorded_and_reused(world: World) -> None:
    words = Words()
    arms = {"evaluate.arms": "base,full"}
    first = run(world, settings=arms)
    assert count(world, "full") == 1
    second = run(world, settings=arms, listen=words.listener)
    assert count(world, "full") == 1
    assert "made before" in words
    np.testing.assert_array_equal(
        first.results["full"].per_user["ndcg_at_10"], second.results["full"].per_user["ndcg_at_10"]
    )


def test_the_run_of_full_names_its_base_and_data(world: World) -> None:
    run(world, settings={"evaluate.arms": "full"})
    (found,) = (info for info in recent_runs(world.store, 100) if info.kind == "full")
    base = world.run(world.base)
    assert (found.status, found.domain, found.rank) == ("FINISHED", "books", None)
    for name in ("base_digest", "data_digest", "cutoff"):
        assert found.tag(name) == base.tag(name)


@pytest.mark.parametrize("changed", [{"adapt.epochs": 1}, {"train.seed": 3}])
def test_full_is_trained_anew_when_it_would_come_out_otherwise(
    world: World, changed: dict[str, Any]
) -> None:
    arms = {"evaluate.arms": "full"}
    run(world, settings=arms)
    run(world, settings=arms | changed)
    assert count(world, "full") == 2


def test_the_rank_of_the_adapter_does_not_matter_to_full(world: World) -> None:
    arms = {"evaluate.arms": "full"}
    run(world, settings=arms)
    run(world, settings=arms | {"adapt.rank": 5})
    assert count(world, "full") == 1


def test_a_full_run_never_stands_in_for_an_adapter(world: World) -> None:
    digest = world.run(world.adapter).tag("adapter_digest")
    run(world, settings={"evaluate.arms": "full"})
    assert world.run(run(world).run).tag("adapter_digest") == digest


def test_full_trains_more_numbers_than_the_adapter(world: World) -> None:
    results = run(world, settings={"evaluate.arms": "base,lora,full"}).results
    parameters = {arm: result.parameters or 0 for arm, result in results.items()}
    assert parameters["base"] == 0 < parameters["lora"] < parameters["full"]


def test_ctrl_c_while_full_is_trained_kills_that_run_and_begins_no_other(world: World) -> None:
    def step(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(world, settings={"evaluate.arms": "full"}, listen=Listener(step=step))
    assert (world.newest().kind, world.newest().status) == ("full", "KILLED")
    assert count(world, "evaluate") == 0


def test_a_killed_full_is_not_reused(world: World) -> None:
    def step(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(world, settings={"evaluate.arms": "full"}, listen=Listener(step=step))
    run(world, settings={"evaluate.arms": "full"})
    assert count(world, "full") == 2


def test_a_domain_without_an_adapter_is_refused_with_both_ways_on(world: World) -> None:
    with pytest.raises(NotFoundError) as refused:
        run(world, "movies")
    assert "lorarec adapt --domain movies" in str(refused.value)
    assert "--adapter none" in str(refused.value)


def test_adapter_none_leaves_the_arm_out(world: World) -> None:
    assert list(run(world, "movies", adapter="none").results) == ["popularity", "base"]


def test_when_no_arm_is_left_it_is_refused_without_a_run(world: World) -> None:
    before = world.runs()
    with pytest.raises(LorarecError, match="lora"):
        run(world, adapter="none", settings={"evaluate.arms": "lora"})
    assert world.runs() == before


def test_an_unknown_domain_gets_the_nearest(world: World) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'movies'"):
        run(world, "moovies", adapter="none")


def test_changed_logs_are_refused_and_taken_when_meant(world: World) -> None:
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    with pytest.raises(DataError, match="have changed"):
        run(world)
    words = Words()
    run(world, paths=[world.logs], listen=words.listener)
    assert "trained on other logs" in words


def test_a_drawn_split_is_not_drawn_again_over_other_logs(world: World) -> None:
    world.pretrain(world.frame, "random")
    world.frame.tail(2500).write_parquet(world.folder / "some.parquet")
    with pytest.raises(DataError, match="would become validation or test"):
        run(world, adapter="none", paths=[world.folder / "some.parquet"])
    with pytest.raises(DataError, match="would become validation or test"):
        world.adapt("books", paths=[world.folder / "some.parquet"])


def test_a_cut_off_moved_by_hand_is_refused(world: World) -> None:
    for uri, kind in ((world.base, "base"), (world.adapter, "adapter")):
        path = world.artifacts(uri) / kind / f"{kind}.json"
        whole, record = path.read_text(), read_json(path)
        record["split"]["t_test"] -= 86_400
        write_json(path, record)
        with pytest.raises(ArtifactError, match=f"{kind}.json has digest .* was edited"):
            run(world)
        path.write_text(whole)
    assert run(world).part == "test"


def test_without_test_rows_it_says_to_evaluate_on_valid(world: World) -> None:
    world.pretrain(split_column(world.frame, "train", "train", "valid"), "column")
    with pytest.raises(NotFoundError, match=r"no rows in 'test'.*--on valid"):
        run(world, adapter="none")
    assert run(world, adapter="none", part="valid").results["base"].counts.users > 0


def test_train_is_refused_as_nothing_of_it_could_be_ranked(world: World) -> None:
    before = world.runs()
    with pytest.raises(ConfigError, match=r"every number would be 0.*--on test"):
        run(world, part="train")
    assert world.runs() == before


def test_an_empty_part_is_told_before_full_is_trained(world: World) -> None:
    world.pretrain(split_column(world.frame, "train", "train", "valid"), "column")
    with pytest.raises(NotFoundError):
        run(world, settings={"evaluate.arms": "full"})
    assert count(world, "full") == 0


def test_a_split_of_any_name_can_be_evaluated(world: World) -> None:
    frame = split_column(world.frame, "train", "train", "valid", "cold start")
    world.pretrain(frame, "column")
    found = run(world, adapter="none", part="cold start")
    books = frame.filter((pl.col("domain") == "books") & (pl.col("split") == "cold start"))
    assert set(found.users) == set(books["user_id"])


def test_a_cut_beyond_the_catalogue_misses_only_what_is_outside_it(world: World) -> None:
    found = run(world, settings={"evaluate.k": "1000"})
    rows = apply_split(load_logs([world.logs]), world.load(world.base).info.split)
    books = rows.filter(pl.col("domain") == "books")
    inside = set(books.filter(pl.col("split") == "train")["item_id"])
    had = {
        (user, item)
        for user, item, split in books.select("user_id", "item_id", "split").rows()
        if split != "test"
    }
    held = books.filter(pl.col("split") == "test").select("user_id", "item_id").unique()
    hits = [item in inside and (user, item) not in had for user, item in held.rows()]
    expected = held.with_columns(hit=pl.Series(hits)).group_by("user_id").agg(pl.mean("hit"))
    for result in found.results.values():
        ours = pl.DataFrame({"user_id": found.users, "ours": result.per_user["recall_at_1000"]})
        both = ours.join(expected, on="user_id")
        assert both.height == len(found.users)
        assert both["ours"].to_list() == pytest.approx(both["hit"].to_list())


def test_a_lower_confidence_narrows_every_interval(world: World) -> None:
    def width(confidence: float) -> tuple[float, float]:
        found = run(world, settings={"evaluate.confidence": confidence, "evaluate.bootstrap": 200})
        own = found.results["lora"].intervals["recall_at_20"]
        minus = found.differences["lora"]["recall_at_20"].interval
        return own.high - own.low, minus.high - minus.low

    assert all(few < many for few, many in zip(width(0.5), width(0.99), strict=True))


def test_an_excluded_domain_is_evaluated_with_its_own_adapter(world: World) -> None:
    found = run(world, OUTSIDE, base=world.other_base)
    assert world.run(found.run).tag("base_run") == world.other_base
    assert not np.array_equal(
        found.results["base"].per_user["ndcg_at_10"], found.results["lora"].per_user["ndcg_at_10"]
    )


@pytest.mark.parametrize("column", ["item_id", "user_id"])
def test_a_domain_may_have_one_item_or_one_user(world: World, column: str) -> None:
    rows = world.frame.filter(pl.col("domain") == OUTSIDE)
    rows = rows.with_columns(pl.lit("only").alias(column), domain=pl.lit("tiny"))
    world.pretrain(pl.concat([world.frame, rows]))
    world.adapt("tiny")
    found = run(world, "tiny", settings={"evaluate.arms": "popularity,base,lora,full"})
    values = [r.intervals["recall_at_10"].mean for r in found.results.values()]
    assert np.isfinite(values).all()
