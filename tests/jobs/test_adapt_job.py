"""Adapting as one recorded run: what moves, what does not, what is kept, how it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, Words, World

from lorarec.errors import ConfigError, DataError, NotFoundError, TrainingError
from lorarec.jobs import adapt as job
from lorarec.jobs import search as searching
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.listener import Listener
from lorarec.lora.adapter import load_adapter
from lorarec.lora.attach import disabled
from lorarec.lora.size import factor_counts, largest_saving_rank
from lorarec.models.artefact import weights_digest
from lorarec.training.loop import History, fit


def appended(world: World, rows: int = 3) -> None:
    """The logs change on disk."""
    pl.concat([world.frame, world.frame.tail(rows)]).write_parquet(world.logs)


def tiny(world: World, **columns: object) -> pl.DataFrame:
    """The logs and a domain `tiny` whose rows have some columns replaced."""
    rows = world.frame.filter(pl.col("domain") == OUTSIDE)
    changed = {name: pl.lit(value, rows.schema[name]) for name, value in columns.items()}
    return pl.concat([world.frame, rows.with_columns(domain=pl.lit("tiny"), **changed)])


def test_the_run_names_its_base_domain_rank_and_data(world: World) -> None:
    run, base = world.run(world.adapter), world.run(world.base)
    found = {name: run.tag(name) for name in ("domain", "rank", "base_run", "split")}
    assert found == {"domain": "books", "rank": "2", "base_run": world.base, "split": "time"}
    for name in ("base_digest", "data_digest", "cutoff"):
        assert run.tag(name) == base.tag(name)


def test_the_runs_adapter_digest_is_the_artefacts(world: World) -> None:
    adapter = load_adapter(world.artifacts(world.adapter) / "adapter", world.load(world.base))
    assert world.run(world.adapter).tag("adapter_digest") == adapter.info.digest


def test_the_run_records_params_targets_and_sizes(world: World) -> None:
    run = world.run(world.adapter)
    assert (run.params["domain"], run.params["adapt.rank"]) == ("books", "2")
    assert run.params["targets"] == "users:2,items:2,transform:2,bias"
    assert run.metrics["parameters"] < run.metrics["parameters_full"]


def test_the_curve_is_recorded_by_epoch(world: World) -> None:
    run_id = world.adapter.removeprefix("runs:/")
    history = world.store.client.get_metric_history(run_id, "valid_recall_at_20")
    assert {metric.step for metric in history} >= {0, 1, 2}


def test_every_step_size_of_the_grid_is_tried_and_recorded(world: World) -> None:
    done = world.adapt("movies", {"adapt.learning_rate_grid": [0.5, 2.0]})
    metrics = world.run(done.run).metrics
    assert {f"trial_{n}/valid_recall_at_20" for n in (0, 1)} <= set(metrics)
    assert "trial_2/valid_recall_at_20" not in metrics
    assert done.adapter.info.learning_rate in (0.025, 0.1)


def test_a_step_size_that_diverges_is_said_and_left_out(world: World) -> None:
    words = Words()
    grid = {"adapt.learning_rate_grid": [4e39, 1.0]}
    done = world.adapt("movies", grid, listen=words.listener)
    assert done.adapter.info.learning_rate == 0.05
    assert "A learning rate of 2e+38 is too large for movies and left out" in words
    assert "trial_1/valid_ndcg" in world.run(done.run).metrics


def test_a_search_whose_step_sizes_all_diverge_fails_and_names_its_own_setting(
    world: World,
) -> None:
    with pytest.raises(TrainingError, match=r"2e\+38.*--set adapt\.learning_rate=0\.005$"):
        world.adapt("movies", {"adapt.learning_rate_grid": [4e39, 6e39]})
    assert world.newest().status == "FAILED"


def test_where_nothing_helped_the_record_is_of_an_untrained_adapter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_better(*args: Any) -> History:
        history = fit(*args)
        history.best_epoch, history.best = 2, -1.0
        history.epochs[2]["valid_ndcg"] = -1.0
        return history

    monkeypatch.setattr(searching, "fit", never_better)
    words = Words()
    done = world.adapt("movies", {"adapt.learning_rate_grid": [1.0, 2.0]}, listen=words.listener)
    run = world.run(done.run)
    assert "Nothing helped movies" in words
    assert done.history.epochs == [done.untrained]
    assert done.adapter.info.metrics == done.untrained
    assert (done.adapter.info.learning_rate, run.metrics["learning_rate"]) == (0.0, 0.0)
    assert (done.history.best_epoch, run.metrics["best_epoch"]) == (0, 0.0)
    assert "train_loss" not in run.metrics
    assert {f"trial_{n}/train_loss" for n in (0, 1)} <= set(run.metrics)


def test_where_no_step_helped_the_record_is_of_the_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which scores as the base with the biases that pretraining learnt, and not as the base."""

    def best_at_the_start(models: Any, parameters: Any, *rest: Any) -> History:
        start = {name: p.detach().clone() for name, p in parameters.items()}
        history = fit(models, parameters, *rest)
        history.best_epoch, history.best = 0, 2.0
        history.epochs[0]["valid_ndcg"] = 2.0
        with torch.no_grad():
            for name, value in start.items():
                parameters[name].copy_(value)
        return history

    monkeypatch.setattr(searching, "fit", best_at_the_start)
    words = Words()
    done = world.adapt("movies", listen=words.listener)
    run, base = world.run(done.run), world.load(world.base)
    assert "No step of training helped movies" in words
    assert (done.adapter.info.learning_rate, run.metrics["learning_rate"]) == (0.0, 0.0)
    assert (len(done.history.epochs), run.metrics["best_epoch"]) == (1, 0.0)
    assert "train_loss" not in run.metrics
    learnt = base.domain_bias["movies"]
    rows = torch.from_numpy(learnt.rows)
    moved = done.adapter.model.item_bias(rows) - base.model.item_bias(rows)
    np.testing.assert_allclose(moved.numpy(), learnt.values, rtol=0, atol=1e-5)
    assert np.abs(learnt.values).max() > 0.01


def test_the_stored_adapter_scores_as_the_trained_one(world: World) -> None:
    done = world.adapt("movies")
    stored = load_adapter(world.artifacts(done.run) / "adapter", world.load(world.base))
    rows = torch.arange(len(done.adapter.items))
    torch.testing.assert_close(
        stored.model.item_vectors(rows), done.adapter.model.item_vectors(rows), rtol=0, atol=0
    )


def test_the_base_on_disk_and_in_memory_stays_as_it_was(world: World) -> None:
    before = {
        path.name: path.read_bytes() for path in (world.artifacts(world.base) / "base").iterdir()
    }
    done = world.adapt("movies", {"adapt.epochs": 3})
    after = {
        path.name: path.read_bytes() for path in (world.artifacts(world.base) / "base").iterdir()
    }
    assert before == after
    with disabled(done.adapter.model):
        model = done.adapter.model
        base = world.load(world.base).model
        users, items = torch.arange(30), torch.arange(30)
        assert torch.equal(model.user_vectors(users), base.user_vectors(users))
        assert torch.equal(model.item_vectors(items), base.item_vectors(items))
    assert weights_digest(base) == world.load(world.base).digest


def test_a_domain_that_the_base_has_not_seen_grows_rows_for_its_new_ids(world: World) -> None:
    base = world.load(world.other_base)
    adapter = load_adapter(world.artifacts(world.other_adapter) / "adapter", base)
    t_valid = base.info.split.t_valid
    train = world.frame.filter((pl.col("domain") == OUTSIDE) & (pl.col("timestamp") < t_valid))
    for vocabulary, known, column in (
        (adapter.users, base.users, "user_id"),
        (adapter.items, base.items, "item_id"),
    ):
        new = set(train[column]) - set(known.ids)
        assert new
        assert set(vocabulary.ids[len(known) :]) == new


def test_grown_rows_are_counted_apart(world: World) -> None:
    base = world.load(world.other_base)
    info = load_adapter(world.artifacts(world.other_adapter) / "adapter", base).info
    grown = world.run(world.other_adapter).metrics["parameters_grown"]
    assert info.parameters["grown"] == grown > 0
    assert grown % base.model.dim == 0


def test_a_named_target_replaces_the_rest_and_its_rank_wins(world: World) -> None:
    done = world.adapt("movies", {"adapt.targets": "items:4,users", "adapt.rank": 3})
    assert done.adapter.info.config.ranks == {"items": 4, "users": 3}
    assert not done.adapter.info.config.bias


@pytest.mark.parametrize(
    ("targets", "tag", "name", "rank"),
    [
        ("items:4,transform:4", "4", "adapt-movies-r4", 4),
        ("items:4,users", "mixed", "adapt-movies-mixed", None),
        ("bias", None, "adapt-movies", None),
    ],
)
def test_the_rank_that_is_recorded_is_the_adapters(
    world: World, targets: str, tag: str | None, name: str, rank: int | None
) -> None:
    run = world.run(world.adapt("movies", {"adapt.targets": targets, "adapt.rank": 3}).run)
    assert (run.tag("rank"), run.name, run.rank) == (tag, name, rank)
    found = evaluate(world.settings.with_options({"evaluate.arms": "lora"}), "movies", world.store)
    assert world.run(found.run).tag("rank") == tag


def test_a_rank_above_the_dimension_is_refused_before_the_logs_are_read(world: World) -> None:
    before = world.runs()
    world.logs.unlink()
    with pytest.raises(ConfigError, match=r"Rank 9 .* 1 to 8"):
        world.adapt("books", {"adapt.rank": 9})
    assert world.runs() == before


def test_a_rank_named_in_the_targets_is_held_to_the_dimension_too(world: World) -> None:
    with pytest.raises(ConfigError, match="Rank 64 for items"):
        world.adapt("books", {"adapt.targets": "items:64"})


def test_an_unknown_target_gets_the_nearest(world: World) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'items'"):
        world.adapt("books", {"adapt.targets": "item:4"})


def test_an_unknown_domain_gets_the_nearest_and_no_run(world: World) -> None:
    before = world.runs()
    with pytest.raises(NotFoundError, match="Did you mean 'movies'"):
        world.adapt("movie")
    assert world.runs() == before


def test_a_rank_that_saves_nothing_is_warned_of_with_both_counts(world: World) -> None:
    words = Words()
    done = world.adapt("movies", {"adapt.targets": "items:8"}, listen=words.listener)
    rows = len(done.adapter.model.items.rows)
    factors, values = factor_counts(rows, 8, 8)
    best = largest_saving_rank(rows, 8)
    (warning,) = done.warnings
    assert f"trains {factors:,} numbers" in warning
    assert f"have {values:,} of their own" in warning
    assert f"largest rank that saves is {best}" in warning
    assert f"Warning: {warning}" in words


def test_the_warning_comes_before_anything_is_trained(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words()

    def searched(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(job, "search", searched)
    with pytest.raises(ZeroDivisionError):
        world.adapt("movies", {"adapt.targets": "items:8"}, listen=words.listener)
    assert "Warning: Rank 8 on items trains" in words


def test_the_warning_counts_the_known_rows_alone(world: World) -> None:
    words = Words()
    targets = {"adapt.targets": "items:8,users:8"}
    done = world.adapt(OUTSIDE, targets, base=world.other_base, listen=words.listener)
    model = done.adapter.model
    for name, module in (("users", model.users), ("items", model.items)):
        rows = len(module.rows)
        assert not rows or f"Rank 8 on {name} trains {factor_counts(rows, 8, 8)[0]:,} " in words
    assert len(done.warnings) == sum(bool(len(m.rows)) for m in (model.users, model.items))


def test_the_largest_rank_that_saves_is_not_warned_of(world: World) -> None:
    rows = len(world.adapt("movies", {"adapt.targets": "items:8"}).adapter.model.items.rows)
    best = largest_saving_rank(rows, 8)
    assert world.adapt("movies", {"adapt.targets": f"items:{best}"}).warnings == []
    assert world.adapt("movies", {"adapt.targets": f"items:{best + 1}"}).warnings


def test_changed_logs_are_refused_with_both_digests(world: World) -> None:
    appended(world)
    with pytest.raises(DataError) as refused:
        world.adapt("books")
    digest = world.load(world.base).info.data.digest
    assert digest[:12] in str(refused.value)
    assert f"--data {world.logs}" in str(refused.value)


def test_the_order_of_rows_is_part_of_the_logs(world: World) -> None:
    world.frame.reverse().write_parquet(world.logs)
    with pytest.raises(DataError, match="have changed"):
        world.adapt("books")


def test_changed_logs_that_are_meant_are_taken_and_recorded(world: World) -> None:
    appended(world)
    done = world.adapt("books", paths=[world.logs])
    assert done.adapter.info.data_digest != world.load(world.base).info.data.digest
    assert world.run(done.run).tag("data_digest") == done.adapter.info.data_digest


def test_missing_logs_are_refused(world: World) -> None:
    world.logs.unlink()
    with pytest.raises(DataError, match="does not exist"):
        world.adapt("books")


def test_the_logs_are_split_at_the_bases_cut_off_whatever_comes_later(world: World) -> None:
    late = world.frame.tail(300).with_columns(timestamp=pl.col("timestamp") + 400 * 86_400)
    pl.concat([world.frame, late]).write_parquet(world.logs)
    before = load_adapter(world.artifacts(world.adapter) / "adapter", world.load(world.base))
    after = world.adapt("books", paths=[world.logs]).adapter
    assert after.info.split == before.info.split
    assert len(after.users) == len(before.users)


def test_ctrl_c_ends_the_run_as_killed_without_an_artefact(world: World) -> None:
    def step(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.adapt("movies", listen=Listener(step=step))
    run = world.newest()
    assert (run.kind, run.status) == ("adapt", "KILLED")
    kept = {path.name for path in world.artifacts(run.uri).iterdir()}
    assert kept == {"config.json", "environment.json"}


def test_a_failure_while_saving_ends_the_run_as_failed_with_nothing_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Any, folder: Any) -> None:
        (folder / "adapter.json").write_text("{")
        raise ValueError("boom")

    monkeypatch.setattr(job, "save_adapter", half)
    with pytest.raises(ValueError, match="boom"):
        world.adapt("movies")
    run = world.newest()
    assert run.status == "FAILED"
    kept = {path.name for path in world.artifacts(run.uri).iterdir()}
    assert kept == {"config.json", "environment.json"}


@pytest.mark.parametrize(("column", "value"), [("item_id", "only"), ("user_id", "lonely")])
def test_a_domain_may_have_one_item_or_one_user(world: World, column: str, value: str) -> None:
    world.pretrain(tiny(world, **{column: value}), exclude=["tiny"])
    adapter = world.adapt("tiny").adapter
    vocabulary = adapter.items if column == "item_id" else adapter.users
    assert value in vocabulary.ids
    rows = torch.arange(len(adapter.items))
    assert np.isfinite(adapter.model.item_vectors(rows).numpy()).all()


def test_a_domain_without_validation_rows_trains_all_its_epochs_and_says_so(world: World) -> None:
    words = Words()
    world.pretrain(tiny(world, timestamp=world.frame["timestamp"].min()))
    done = world.adapt("tiny", {"adapt.epochs": 3}, listen=words.listener)
    assert "tiny has no validation rows" in words
    assert len(done.history.epochs) == 4
    assert done.history.best_epoch == 3


@pytest.mark.parametrize("domain", ["книги", "kids' books", 'a "b" / c', "bücher: alle"])
def test_a_domain_of_any_name_is_found_again(world: World, domain: str) -> None:
    from lorarec.jobs.choose import choose_adapter
    from lorarec.jobs.listener import SILENT

    frame = world.frame.with_columns(
        domain=pl.col("domain").replace("games", domain), user_id=pl.lit("ü ") + pl.col("user_id")
    )
    base = world.pretrain(frame).base
    done = world.adapt(domain)
    found = choose_adapter(world.store, None, base, domain, SILENT)
    assert found is not None
    assert found.info.digest == done.adapter.info.digest
    assert (found.info.domain, world.run(done.run).domain) == (domain, domain)


def test_the_same_seed_gives_the_same_adapter_and_another_does_not(world: World) -> None:
    first = world.run(world.adapter).tag("adapter_digest")
    again = world.adapt("books").adapter.info.digest
    other = world.adapt("books", {"train.seed": 5}).adapter.info.digest
    assert again == first != other
