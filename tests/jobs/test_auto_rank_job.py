"""`--rank auto`: trained once, truncated, the smallest rank that is as good, and why."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
import torch
from world import Words, World

from lorarec.errors import ConfigError, DataError
from lorarec.evaluation.one_standard_error import Standing
from lorarec.jobs import adapt as job
from lorarec.jobs import auto_rank
from lorarec.jobs.adapt import Adapted
from lorarec.jobs.adapt_domains import adapt_domains
from lorarec.jobs.choose import choose_adapter
from lorarec.jobs.domain import domain_data
from lorarec.jobs.listener import SILENT, Listener
from lorarec.lora.adapter import load_adapter
from lorarec.lora.size import largest_saving_rank
from lorarec.training.validation import RankingValidation


def auto(world: World, listen: Listener = SILENT, **options: Any) -> Adapted:
    """An adapter of movies at the ranks that validation chooses."""
    given = {key.replace("__", "."): value for key, value in options.items()}
    return world.adapt("movies", {"adapt.rank": "auto", **given}, listen=listen)


def unvalidated(world: World) -> pl.DataFrame:
    """Logs whose movies have no validation row, and a `split` column."""
    return world.frame.with_columns(
        split=pl.when(pl.int_range(pl.len()) % 10 == 0)
        .then(pl.lit("test"))
        .when((pl.int_range(pl.len()) % 10 == 1) & (pl.col("domain") != "movies"))
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )


def test_it_trains_once_at_the_widest_ranks_that_save(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, search = [], job.search

    def noted(settings: Any, config: Any, *rest: Any) -> Any:
        asked.append(config)
        return search(settings, config, *rest)

    monkeypatch.setattr(job, "search", noted)
    done = auto(world)
    (config,) = asked
    for name in ("users", "items"):
        saving = largest_saving_rank(len(getattr(done.adapter.model, name).rows), 8)
        assert config.ranks[name] <= saving < 2 * config.ranks[name]
    assert config.ranks["transform"] == 2
    assert done.warnings == []


def test_what_is_kept_is_what_the_decision_says(world: World) -> None:
    words = Words()
    done = auto(world, words.listener)
    assert done.decision is not None
    ranks = done.adapter.info.config.ranks
    assert ranks == done.decision.ranks
    assert max(ranks.values()) <= done.decision.curve.chosen <= done.decision.curve.best
    assert f"Ranks of movies: {done.adapter.info.config.describe()}" in words
    stored = load_adapter(world.artifacts(done.run) / "adapter", world.load(world.base))
    rows = torch.arange(len(done.adapter.items))
    assert torch.equal(stored.model.item_vectors(rows), done.adapter.model.item_vectors(rows))
    factors = {name: p for name, p in stored.model.state_dict().items() if name == "items.a"}
    assert factors["items.a"].shape[1] == ranks["items"]


def test_its_metrics_are_those_of_what_is_kept(world: World) -> None:
    done = auto(world)
    base = world.load(world.base)
    frame, _ = base.info.data.read_again(base.info.split, (), domain="movies")
    data = domain_data(base, frame, "movies")
    measured = RankingValidation(data.train, data.valid, ["movies"])({"movies": done.adapter.model})
    for name, value in measured.items():
        assert done.adapter.info.metrics[name] == pytest.approx(value, abs=1e-6)
        assert world.run(done.run).metrics[name] == pytest.approx(value, abs=1e-6)


def test_the_run_has_the_curve_as_metrics_json_and_picture(world: World) -> None:
    done = auto(world)
    assert done.decision is not None
    points, run = done.decision.curve.points, world.run(done.run)
    folder = world.artifacts(done.run)
    assert (folder / "rank_curve.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((folder / "ranks.json").read_text())
    assert record["targets"] == done.adapter.info.config.ranks
    assert [point["rank"] for point in record["points"]] == list(points)
    history = world.store.client.get_metric_history(run.run_id, "rank/valid_recall_at_20")
    assert {m.step: m.value for m in history} == {r: p.mean for r, p in points.items()}
    assert run.params["targets"] == done.adapter.info.config.describe()
    assert (run.name, run.params["adapt.rank"]) == ("adapt-movies-auto", "auto")
    assert run.metrics["parameters"] == done.size.parameters
    assert run.tag("rank") != "auto"


def test_a_rank_in_the_targets_stays(world: World) -> None:
    done = auto(world, adapt__targets="items:3,users,bias")
    assert done.decision is not None
    assert done.adapter.info.config.ranks["items"] == 3
    assert {step.target for step in done.decision.tried} <= {"users"}


@pytest.mark.parametrize("targets", ["items:3,bias", "bias"])
def test_without_a_rank_to_choose_it_is_refused_before_the_logs_are_read(
    world: World, targets: str
) -> None:
    before = world.runs()
    world.logs.unlink()
    with pytest.raises(ConfigError, match=r"No rank is left to choose.*--rank 8"):
        auto(world, adapt__targets=targets)
    assert world.runs() == before


def test_without_validation_rows_it_is_refused_and_a_rank_advised(world: World) -> None:
    base = world.pretrain(unvalidated(world), "column").run
    before = world.runs()
    with pytest.raises(DataError, match="0 validation users") as refused:
        world.adapt("movies", {"adapt.rank": "auto"}, base=base)
    assert "lorarec adapt --domain movies --rank 8" in str(refused.value)
    assert world.runs() == before


@pytest.mark.parametrize(("behind", "kept"), [(0.0, {1}), (0.2, {2, 4})])
def test_each_target_is_lowered_while_it_is_within_one_error(
    world: World, monkeypatch: pytest.MonkeyPatch, behind: float, kept: set[int]
) -> None:
    """From the widest, as if that were chosen for all."""

    def judged(values: Any, best: Any = None) -> Any:
        return {rank: Standing(float(v.mean()), 0.1, behind, 0.1) for rank, v in values.items()}

    monkeypatch.setattr(auto_rank, "standings", judged)
    monkeypatch.setattr(auto_rank, "smallest_within", max)
    done = auto(world)
    assert done.decision is not None
    assert set(done.adapter.info.config.ranks.values()) == kept
    tried = done.decision.tried
    assert {step.standing.within for step in tried} == {behind == 0.0}
    assert {step.target for step in tried} == {"users", "items", "transform"}
    assert tried[-1].target == "transform"  # it has the fewest numbers a rank


def test_it_is_the_domains_adapter_from_then_on(world: World) -> None:
    done = auto(world)
    base = world.load(world.base)
    taken = choose_adapter(world.store, None, base, "movies", SILENT)
    assert taken is not None
    assert taken.info.digest == done.adapter.info.digest


def test_where_no_rank_saves_a_table_has_values_of_its_own(world: World) -> None:
    """All users of the domain are one that the base knows, but for two that it does not."""
    rows = world.frame.filter(pl.col("domain") == "movies")
    few = [rows["user_id"][0], "new 1", "new 2"]
    own = pl.Series("user_id", [few[place % 3] for place in range(rows.height)])
    logs = pl.concat([world.frame, rows.with_columns(own, domain=pl.lit("tiny"))])
    logs.write_parquet(world.logs)
    options = {"adapt.rank": "auto", "adapt.targets": "users,items,bias"}
    done = world.adapt("tiny", options, paths=[world.logs])
    assert done.adapter.info.config.whole == ("users",)
    assert set(done.adapter.info.config.ranks) == {"items"}
    with pytest.raises(DataError, match="No rank saves anything on users"):
        world.adapt("tiny", {**options, "adapt.targets": "users,bias"}, paths=[world.logs])


def test_many_domains_each_get_their_own_ranks(world: World) -> None:
    base = world.pretrain(unvalidated(world), "column").run
    settings = world.settings.with_options({"adapt.rank": "auto"})
    done = adapt_domains(settings, "books,movies", world.store, base)
    assert [outcome.domain for outcome in done.done] == ["books"]
    assert "0 validation users" in done.failed["movies"]
