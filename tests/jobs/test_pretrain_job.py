"""Pretraining as one recorded run: what goes in, what is kept, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import OUTSIDE, Words, World

from lorarec.errors import DataError, NotFoundError, TrainingError
from lorarec.jobs import pretrain as job
from lorarec.jobs.listener import Listener

Raises = Callable[[BaseException], Listener]


@pytest.fixture
def raising() -> Raises:
    """`raising(error)`: a listener that raises at the first step of training."""

    def listener(error: BaseException) -> Listener:
        def step(_: object) -> None:
            raise error

        return Listener(step=step)

    return listener


def rows_outside(world: World) -> pl.DataFrame:
    return world.frame.filter(pl.col("domain") != OUTSIDE)


def with_split(frame: pl.DataFrame, *values: str) -> pl.DataFrame:
    """A column `split`: one value after another, row by row."""
    cycle = pl.Series(values).gather([n % len(values) for n in range(frame.height)])
    return frame.with_columns(split=cycle)


def test_the_run_is_finished_with_its_digests_split_and_cut_off(world: World) -> None:
    run, info = world.run(world.base), world.load(world.base).info
    assert (run.kind, run.status) == ("pretrain", "FINISHED")
    tags = {name: run.tag(name) for name in ("base_digest", "data_digest", "split", "cutoff")}
    assert tags == {
        "base_digest": info.digest,
        "data_digest": info.data.digest,
        "split": "time",
        "cutoff": str(info.split.t_test),
    }


def test_the_params_are_flat_settings(world: World) -> None:
    params = world.run(world.base).params
    assert params["model.dim"] == "8"
    assert {name.partition(".")[0] for name in params} >= {"data", "model", "train", "adapt"}


def test_the_resolved_config_and_the_split_are_artifacts(world: World) -> None:
    folder = world.artifacts(world.base)
    assert json.loads((folder / "config.json").read_text())["train"]["epochs"] == 2
    split = json.loads((folder / "split.json").read_text())
    assert split["t_valid"] < split["t_test"]


def test_metrics_are_recorded_for_each_epoch(world: World) -> None:
    history = world.store.client.get_metric_history(
        world.base.removeprefix("runs:/"), "valid_recall_at_20"
    )
    assert {metric.step for metric in history} >= {0, 1, 2}


def test_the_same_seed_gives_the_same_base_and_another_does_not(world: World) -> None:
    again = job.pretrain(world.settings, [world.logs], world.store).base.digest
    seeded = world.settings.with_options({"train.seed": 1})
    other = job.pretrain(seeded, [world.logs], world.store).base.digest
    assert again == world.load(world.base).digest != other


def test_the_returned_base_is_the_stored_one(world: World) -> None:
    done = world.pretrain(world.frame)
    stored = world.load(done.run)
    assert (stored.digest, stored.users, stored.items) == (
        done.base.digest,
        done.base.users,
        done.base.items,
    )


def test_only_ids_of_train_rows_are_in_the_vocabularies(world: World) -> None:
    base = world.load(world.base)
    train = world.frame.filter(pl.col("timestamp") < base.info.split.t_valid)
    assert set(base.users.ids) == set(train["user_id"])
    assert set(base.items.ids) == set(train["item_id"])


def test_an_excluded_domain_gives_no_id_to_the_vocabularies(world: World) -> None:
    base, rows = world.load(world.other_base), rows_outside(world)
    lonely = set(world.frame["user_id"]) - set(rows["user_id"])
    strange = set(world.frame["item_id"]) - set(rows["item_id"])
    assert lonely
    assert strange
    assert not lonely & set(base.users.ids)
    assert not strange & set(base.items.ids)


def test_an_excluded_domain_is_recorded_as_such(world: World) -> None:
    info = world.load(world.other_base).info
    assert (info.excluded_domains, info.domains) == ([OUTSIDE], ["books", "movies"])


def test_what_an_excluded_domain_holds_changes_nothing(world: World) -> None:
    outside = pl.col("domain") == OUTSIDE
    other = pl.when(outside).then(pl.lit("i00001")).otherwise(pl.col("item_id"))
    done = world.pretrain(world.frame.with_columns(item_id=other), exclude=[OUTSIDE])
    assert done.base.digest == world.load(world.other_base).digest
    assert done.base.info.metrics == world.load(world.other_base).info.metrics


def test_what_an_included_domain_holds_does_change_the_base(world: World) -> None:
    books = pl.col("domain") == "books"
    other = pl.when(books).then(pl.lit("i00001")).otherwise(pl.col("item_id"))
    done = world.pretrain(world.frame.with_columns(item_id=other), exclude=[OUTSIDE])
    assert done.base.digest != world.load(world.other_base).digest


def test_the_cut_off_is_the_same_with_and_without_a_domain(world: World) -> None:
    one, other = (world.load(uri).info.split for uri in (world.base, world.other_base))
    assert (one.t_valid, one.t_test) == (other.t_valid, other.t_test)


def test_an_unknown_domain_to_exclude_gets_the_nearest_and_no_run(world: World) -> None:
    before = world.runs()
    with pytest.raises(NotFoundError, match="Did you mean 'games'"):
        world.pretrain(world.frame, exclude=["gams"])
    assert world.runs() == before


def test_a_base_of_no_domain_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match="All domains are excluded"):
        world.pretrain(world.frame, exclude=["books", "movies", "games"])


def test_train_alone_is_enough_and_the_cut_is_said(world: World) -> None:
    words = Words()
    done = world.pretrain(with_split(world.frame, "train"), "column", listen=words.listener)
    assert done.base.info.split.valid_cut_from_train
    assert done.base.info.split.counts["valid"].rows > 0
    assert "has no `valid`" in words


def test_train_and_valid_are_taken_as_they_are(world: World) -> None:
    words = Words()
    frame = with_split(world.frame, "train", "train", "valid")
    done = world.pretrain(frame, "column", listen=words.listener)
    valid = frame.filter(pl.col("split") == "valid").height
    assert done.base.info.split.counts["valid"].rows == valid
    assert "has no `test`" in words


def test_rows_of_another_split_stay_out_of_the_vocabularies(world: World) -> None:
    extra = world.frame.head(5).with_columns(
        user_id=pl.lit("late") + pl.col("user_id"), split=pl.lit("extra")
    )
    frame = pl.concat([with_split(world.frame, "train", "train", "valid"), extra])
    done = world.pretrain(frame, "column")
    assert done.base.info.split.counts["extra"].rows == 5
    assert not [name for name in done.base.users.ids if name.startswith("late")]


def test_without_timestamps_the_split_is_random_and_said(world: World) -> None:
    words = Words()
    done = world.pretrain(world.frame.drop("timestamp"), listen=words.listener)
    assert done.base.info.split.used == "random"
    assert "seeded random" in words


def test_integer_ids_are_ids(world: World) -> None:
    number = pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64)
    base = world.pretrain(world.frame.with_columns(number)).base
    assert "7" in base.users.ids.tolist()


def test_ids_of_any_script_come_back_as_they_were(world: World) -> None:
    frame = world.frame.with_columns(
        user_id=pl.lit("Łukasz 🎻 ") + pl.col("user_id"), domain=pl.lit("книги и 'д'")
    )
    done = world.pretrain(frame)
    assert "Łukasz 🎻 u00007" in world.load(done.run).users.ids
    assert world.load(done.run).info.domains == ["книги и 'д'"]


def test_repeated_pairs_are_legal(world: World) -> None:
    done = world.pretrain(pl.concat([world.frame, world.frame.head(50)]))
    assert done.base.info.data.rows == world.frame.height + 50


@pytest.mark.parametrize("column", ["item_id", "user_id"])
def test_a_domain_may_have_one_item_or_one_user(world: World, column: str) -> None:
    tiny = world.frame.head(600).with_columns(pl.lit("only").alias(column), domain=pl.lit("tiny"))
    base = world.pretrain(pl.concat([world.frame, tiny]).sort("timestamp")).base
    assert "tiny" in base.info.domains
    assert "tiny" in base.domain_bias


def test_a_domain_without_a_train_row_is_said_and_does_no_harm(world: World) -> None:
    words = Words()
    late = world.frame.tail(20).with_columns(domain=pl.lit("late"))
    done = world.pretrain(pl.concat([world.frame, late]), listen=words.listener)
    assert "1 domains have no train row: late" in words
    assert "late" not in done.base.domain_bias


def test_logs_that_break_the_contract_are_refused_before_a_run_begins(world: World) -> None:
    before = world.runs()
    with pytest.raises(DataError):
        world.pretrain(world.frame.with_columns(timestamp=pl.col("timestamp") * 1000))
    assert world.runs() == before


def test_min_rating_is_recorded_with_what_it_dropped(world: World) -> None:
    path = world.folder / "rated.parquet"
    stars = pl.Series([1.0, 5.0, 4.0]).gather([n % 3 for n in range(world.frame.height)])
    world.frame.with_columns(rating=stars).write_parquet(path)
    settings = world.settings.with_options({"data.min_rating": 3.0})
    source = job.pretrain(settings, [path], world.store).base.info.data
    assert (source.min_rating, source.dropped) == (3.0, world.frame.height // 3)


def test_ctrl_c_ends_the_run_as_killed_without_an_artefact(world: World, raising: Raises) -> None:
    with pytest.raises(KeyboardInterrupt):
        world.pretrain(world.frame, listen=raising(KeyboardInterrupt()))
    run = world.newest()
    assert (run.kind, run.status) == ("pretrain", "KILLED")
    kept = {path.name for path in world.artifacts(run.uri).iterdir()}
    assert kept == {"config.json", "environment.json"}


def test_a_failure_ends_the_run_as_failed_and_names_the_error(
    world: World, raising: Raises
) -> None:
    with pytest.raises(ZeroDivisionError):
        world.pretrain(world.frame, listen=raising(ZeroDivisionError("boom")))
    run = world.newest()
    assert (run.status, run.tag("error")) == ("FAILED", "ZeroDivisionError: boom")
    assert not (world.artifacts(run.uri) / "base").exists()


def test_a_failure_while_saving_leaves_nothing_half_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: Any, folder: Path) -> None:
        (folder / "base.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "save_base", half)
    with pytest.raises(Exception, match="disk is full"):
        world.pretrain(world.frame)
    run = world.newest()
    assert run.status == "FAILED"
    kept = {path.name for path in world.artifacts(run.uri).iterdir()}
    assert kept == {"config.json", "environment.json"}


def test_training_that_never_beats_its_start_is_said(world: World) -> None:
    words = Words()
    for rate, expected in ((1e4, True), (0.02, False)):
        settings = world.settings.with_options({"train.learning_rate": rate})
        words.said.clear()
        done = job.pretrain(settings, [world.logs], world.store, listen=words.listener)
        assert (done.history.best_epoch == 0) is expected
        assert ("No epoch of 2 validated better than the start" in words) is expected


def test_a_base_that_diverges_names_its_own_setting(world: World) -> None:
    settings = world.settings.with_options({"train.learning_rate": 2e38})
    with pytest.raises(TrainingError, match=r"--set train\.learning_rate=2e\+37$"):
        job.pretrain(settings, [world.logs], world.store)
