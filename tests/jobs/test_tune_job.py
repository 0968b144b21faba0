"""A search as runs under one run: what decides, what is recorded, how it goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import Words, World

from lorarec.config import Settings, load_settings
from lorarec.errors import ConfigError, DataError, DivergedError, NotFoundError
from lorarec.jobs import reading, trials
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.trials import Trial
from lorarec.jobs.tune import NEWEST, Tuned, tune
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import nested_runs, runs_of

SMALL = {"tune.trials": 4, "tune.dims": [4, 8]}


def settings(world: World, **options: object) -> Settings:
    """Four short trials; `tune__trials=2` is `tune.trials`."""
    given = {key.replace("__", "."): value for key, value in options.items()}
    return world.settings.with_options({**SMALL, **given})


def search(
    world: World, resume: str | None = None, listen: Listener = SILENT, **options: Any
) -> Tuned:
    """Over the world's logs."""
    return tune(settings(world, **options), [world.logs], world.store, (), listen, resume)


def outcomes(done: Tuned) -> list[tuple[object, ...]]:
    """What does not depend on when and where it was done."""
    return [
        (t.number, t.values, {k: v for k, v in t.metrics.items() if k != "train_seconds"})
        for t in done.trials
    ]


def trial_runs(world: World, uri: str) -> list[RunInfo]:
    """The runs under a search."""
    return nested_runs(world.store, uri.removeprefix("runs:/"))


def breaking(at: int, error: BaseException) -> Callable[..., Any]:
    """In place of `train_base`: the call of this number raises in the middle of its training."""
    train_base, calls = trials.train_base, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) != at + 1:
            return train_base(*arguments)

        def step(_: object) -> None:
            raise error

        given = list(arguments)
        given[5] = dataclasses.replace(given[5], step=step)
        return train_base(*given)

    return broken


def test_the_search_is_one_run_with_a_run_for_each_trial(world: World) -> None:
    done = search(world)
    parent = world.run(done.run)
    assert (parent.kind, parent.status) == ("tune", "FINISHED")
    under = trial_runs(world, done.run)
    assert [(run.kind, run.status, run.tag("trial")) for run in under] == [
        ("trial", "FINISHED", str(n)) for n in range(4)
    ]
    assert {run.uri for run in under} == {trial.run for trial in done.trials}
    data = world.load(world.base).info.data.digest
    assert {run.tag("data_digest") for run in [parent, *under]} == {data}


def test_a_trial_s_run_has_its_settings_and_its_curve(world: World) -> None:
    done = search(world)
    for trial in done.trials:
        run = world.run(trial.run)
        assert {key: float(run.params[key]) for key in trial.values} == trial.values
        assert run.params["train.epochs"] == "2"
        curve = world.store.client.get_metric_history(run.run_id, "valid_ndcg")
        assert {point.step for point in curve} == {0, 1, 2, 3}
        assert max(point.value for point in curve) == trial.score == run.metrics["valid_ndcg"]


def test_trial_0_is_the_settings_as_they_are_and_ends_as_pretrain_does(world: World) -> None:
    start = search(world, tune__trials=1).start
    base = world.load(world.base).info
    assert start.values["model.dim"] == base.dim
    assert start.score == base.metrics["valid_ndcg"]


def test_the_best_settings_pretrain_to_the_best_trial_s_metrics(world: World) -> None:
    done = search(world)
    assert done.best.score == max(trial.score or 0 for trial in done.trials) > done.start.score  # type: ignore[operator]
    base = pretrain(done.settings, [world.logs], world.store).base
    assert base.info.metrics["valid_ndcg"] == done.best.score


def test_the_best_is_on_the_search_s_own_run(world: World) -> None:
    done = search(world)
    metrics = world.run(done.run).metrics
    assert metrics["best_trial"] == done.best.number
    assert metrics["valid_ndcg"] == done.best.score
    assert {key: metrics[f"best/{key}"] for key in done.best.values} == done.best.values


def test_the_best_settings_are_a_file_that_a_command_reads(world: World) -> None:
    done = search(world)
    file = world.artifacts(done.run) / "best.toml"
    found = load_settings(file, environ={})
    for section in ("data", "model", "features", "train"):
        assert getattr(found, section) == getattr(done.settings, section)


def test_no_base_is_kept_and_none_is_found_later(world: World) -> None:
    done = search(world)
    folders = [
        world.artifacts(run.uri) for run in [world.run(done.run), *trial_runs(world, done.run)]
    ]
    assert not [path for folder in folders for path in folder.rglob("*.safetensors")]


def test_the_same_seed_gives_the_same_search_and_another_does_not(world: World) -> None:
    first = outcomes(search(world))
    assert outcomes(search(world)) == first
    assert outcomes(search(world, train__seed=1)) != first


def test_the_logs_are_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, read = [], reading.DataSource.read_split

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return read(*arguments)

    monkeypatch.setattr(reading.DataSource, "read_split", counted)
    search(world)
    assert len(calls) == 1


def split_by_column(world: World) -> pl.DataFrame:
    """Eight rows of ten in train, one in valid, one in test."""
    parts = pl.Series(["train"] * 8 + ["valid", "test"])
    return world.frame.with_columns(split=parts.gather([n % 10 for n in range(world.frame.height)]))


def over(world: World, frame: pl.DataFrame) -> list[tuple[object, ...]]:
    """How a search over these logs ends."""
    path = world.folder / "split.parquet"
    frame.write_parquet(path)
    return outcomes(tune(settings(world, data__split="column"), [path], world.store))


def test_what_is_in_test_changes_nothing(world: World) -> None:
    frame, test = split_by_column(world), pl.col("split") == "test"
    found = over(world, frame)
    assert over(world, frame.filter(~test)) == found
    other = pl.when(test).then(pl.lit("i00001")).otherwise(pl.col("item_id"))
    assert over(world, frame.with_columns(item_id=other)) == found


def test_what_is_in_valid_does_change_what_is_found(world: World) -> None:
    frame, valid = split_by_column(world), pl.col("split") == "valid"
    other = pl.when(valid).then(pl.lit("i00001")).otherwise(pl.col("item_id"))
    assert over(world, frame.with_columns(item_id=other)) != over(world, frame)


def test_without_validation_rows_there_is_nothing_to_search_by(world: World) -> None:
    stranger = pl.when(pl.col("split") == "valid").then(pl.lit("x")).otherwise(pl.col("user_id"))
    before = world.runs()
    with pytest.raises(DataError, match="No validation row"):
        over(world, split_by_column(world).with_columns(user_id=stranger))
    assert world.runs() == before


def test_an_excluded_domain_is_in_no_trial(world: World) -> None:
    done = tune(settings(world, tune__trials=1), [world.logs], world.store, ["games"])
    assert done.start.score == world.load(world.other_base).info.metrics["valid_ndcg"]


def test_a_trial_that_diverges_is_recorded_and_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words()
    monkeypatch.setattr(trials, "train_base", breaking(1, DivergedError("The loss became inf.")))
    done = search(world, listen=words.listener)
    lost = done.trials[-1]
    assert (lost.number, lost.score) == (1, None)
    assert len(done.trials) == 4
    assert "Trial 1 diverged and is left out: The loss became inf." in words
    run = world.run(lost.run)
    assert (run.status, run.tag("error")) == ("FAILED", "DivergedError: The loss became inf.")
    assert world.run(done.run).status == "FINISHED"


def test_a_diverged_trial_is_not_run_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "train_base", breaking(1, DivergedError("inf")))
    first = search(world)
    again = search(world, NEWEST)
    assert outcomes(again) == outcomes(first)
    assert len(trial_runs(world, first.run)) == 4


def test_when_all_trials_diverge_that_is_the_error(world: World) -> None:
    with pytest.raises(DivergedError, match="All 2 trials diverged"):
        search(
            world,
            tune__trials=2,
            train__learning_rate=2e38,
            tune__learning_rate=[1e38, 3e38],
        )
    assert world.newest().status == "FAILED"


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (ZeroDivisionError("boom"), "FAILED")],
    ids=["ctrl-c", "error"],
)
def test_broken_off_it_goes_on_as_if_it_had_not_been(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    straight, words = outcomes(search(world)), Words()
    with monkeypatch.context() as patched:
        patched.setattr(trials, "train_base", breaking(2, error))
        with pytest.raises(type(error)):
            search(world, listen=words.listener)
    broken = world.newest()
    assert (broken.kind, broken.status) == ("tune", status)
    assert [run.status for run in trial_runs(world, broken.uri)] == ["FINISHED"] * 2 + [status]
    assert f"2 of 4 trials are recorded in {broken.uri}" in words
    done = search(world, broken.uri)
    assert (done.run, outcomes(done)) == (broken.uri, straight)
    assert [run.tag("trial") for run in trial_runs(world, done.run)] == ["0", "1", "2", "2", "3"]
    assert world.run(done.run).status == "FINISHED"
    assert world.run(done.run).tag("error") is None


def test_the_newest_search_that_is_like_this_one_goes_on(world: World) -> None:
    mine = search(world)
    search(world, train__seed=1)
    words = Words()
    assert search(world, NEWEST, words.listener).run == mine.run
    assert f"Going on with the search {mine.run}" in words


def test_more_trials_may_be_asked_for(world: World) -> None:
    straight = search(world)
    short = search(world, tune__trials=2)
    longer = search(world, short.run)
    assert (longer.run, outcomes(longer)) == (short.run, outcomes(straight))


def test_without_a_search_to_go_on_with_one_begins(world: World) -> None:
    words = Words()
    search(world, NEWEST, words.listener, tune__trials=1)
    assert "There is no search to go on with" in words
    assert len(list(runs_of(world.store, "tune"))) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train__seed": 3}, "train.seed is 3 here and 0 there"),
        ({"tune__dims": [4, 16]}, "tune.dims is '4,16' here and '4,8' there"),
        ({"data__valid_share": 0.2}, "split is"),
    ],
)
def test_a_search_of_other_settings_is_not_gone_on_with(
    world: World, options: dict[str, object], said: str
) -> None:
    search(world, tune__trials=1)
    with pytest.raises(ConfigError, match=r"was made otherwise \(\d+ differ\)") as caught:
        search(world, NEWEST, **options)
    assert said in str(caught.value)


def test_a_search_of_other_logs_is_not_gone_on_with(world: World) -> None:
    done = search(world, tune__trials=1)
    world.frame.head(-1).write_parquet(world.logs)
    with pytest.raises(ConfigError, match="data is '"):
        search(world, done.run)


def test_only_a_search_can_be_gone_on_with(world: World) -> None:
    with pytest.raises(NotFoundError, match="kind 'pretrain'"):
        search(world, world.base)


def test_a_killed_process_s_trial_does_not_run_for_ever(world: World) -> None:
    done = search(world, tune__trials=2)
    for uri in (done.run, done.trials[-1].run):
        world.store.client.update_run(uri.removeprefix("runs:/"), status="RUNNING")
    again = search(world, NEWEST, tune__trials=2)
    assert outcomes(again) == outcomes(done)
    assert sorted(run.status for run in trial_runs(world, done.run)) == [
        "FINISHED",
        "FINISHED",
        "KILLED",
    ]


def test_two_towers_with_features_are_searched_too(world: World) -> None:
    ids = world.frame["item_id"].unique(maintain_order=True)
    path = Path(world.folder, "items.csv")
    pl.DataFrame({"item_id": ids, "kind": [("a", "b")[n % 2] for n in range(len(ids))]}).write_csv(
        path
    )
    done = search(
        world, tune__trials=2, model__name="two-tower", features__items=str(path), train__epochs=1
    )
    assert [trial.score is not None for trial in done.trials] == [True, True]
    path.write_text(path.read_text().replace("a", "c", 1))
    with pytest.raises(ConfigError, match=r"features\.items is"):
        search(world, NEWEST, model__name="two-tower", features__items=str(path), train__epochs=1)


def test_a_model_of_implicit_is_not_searched(world: World) -> None:
    with pytest.raises(ConfigError, match="--model mf or two-tower"):
        search(world, model__name="als")


def test_a_small_space_ends_early_with_a_word(world: World) -> None:
    words = Words()
    only = {f"tune__{name}": [] for name in ("learning_rate", "temperature", "weight_decays")}
    done = search(world, listen=words.listener, **only)
    assert {trial.values["model.dim"] for trial in done.trials} == {4, 8}
    assert "All 2 combinations were tried" in words


def test_equals_are_ranked_by_who_came_first() -> None:
    found = [Trial(n, {}, "", {} if n == 1 else {"valid_ndcg": 0.5}) for n in (2, 1, 0)]
    assert [trial.number for trial in trials.ranked(found)] == [0, 2, 1]
