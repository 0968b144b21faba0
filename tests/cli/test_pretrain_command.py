"""`lorarec pretrain`, as typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

Ran = Callable[..., Ended]


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("pretrain", "-h")
    assert done.code == 0
    assert "lorarec pretrain --data" in done.out.split("Example:")[1]


def test_it_prints_the_split_and_the_base_and_the_next_command(world: World, ran: Ran) -> None:
    done = ran("pretrain", "--data", world.logs)
    assert done.code == 0
    assert "Split: time" in done.out
    assert world.newest().uri in done.out
    assert "Next: lorarec adapt --domain books" in done.err


def test_json_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran("pretrain", "--data", world.logs, "--json").json
    base = world.load(world.newest().uri)
    assert (found["run"], found["base_digest"]) == (world.newest().uri, base.digest)
    assert (found["users"], found["items"]) == (len(base.users), len(base.items))
    assert found["domains"] == ["books", "games", "movies"]


def test_it_makes_the_store_at_its_default_place(
    bare_project: Path, world_template: World, ran: Ran
) -> None:
    logs = world_template.logs
    assert ran("pretrain", "--data", logs, "--epochs", 1, "--dim", 4).code == 0
    assert (bare_project / "mlruns" / "mlflow.db").is_file()
    assert list((bare_project / "mlruns" / "artifacts").glob("*/artifacts/base/base.json"))
    assert sorted(path.name for path in bare_project.iterdir()) == ["mlruns"]


def test_two_towers_are_trained_on_a_table_of_features(world: World, ran: Ran) -> None:
    ids = world.frame["item_id"].unique(maintain_order=True)
    kinds = [("a", "b")[n % 2] for n in range(len(ids))]
    pl.DataFrame({"item_id": ids, "kind": kinds}).write_csv(world.folder / "items.csv")
    done = ran("pretrain", "--data", world.logs, "--model", "two-tower", "--items", "items.csv")
    assert done.code == 0
    assert "Features of items: kind (categorical)." in done.err
    run = world.newest()
    assert run.params["model.name"] == "two-tower"
    assert world.load(run.uri).info.features["items"].path == str(world.folder / "items.csv")


def test_features_without_towers_are_a_wrong_input(world: World, ran: Ran) -> None:
    pl.DataFrame({"item_id": ["a"], "kind": ["b"]}).write_csv(world.folder / "items.csv")
    done = ran("pretrain", "--data", world.logs, "--items", "items.csv")
    assert done.code == 2
    assert "--model two-tower" in done.err


def test_an_option_wins_over_the_settings(world: World, ran: Ran) -> None:
    assert ran("pretrain", "--data", world.logs, "--epochs", 1, "--dim", 4).code == 0
    params = world.newest().params
    assert (params["train.epochs"], params["model.dim"]) == ("1", "4")


def test_a_variable_of_the_environment_counts(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAREC_TRAIN__EPOCHS", "1")
    assert ran("pretrain", "--data", world.logs, "--json").json["epochs"] == 1
    assert world.newest().params["train.epochs"] == "1"


@pytest.mark.parametrize("value", ["/nowhere/at/all", "."])
def test_lorarec_data_disturbs_no_command(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    digest = world.load(world.base).digest
    monkeypatch.setenv("LORAREC_DATA", value)
    assert ran("pretrain", "--data", world.logs, "--json").json["base_digest"] == digest
    assert ran("adapt", "--domain", "books").code == 0
    assert ran("evaluate", "--domain", "books", "--arms", "lora").code == 0


def test_mlflows_own_variables_go_first(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch, store_template: Path
) -> None:
    other = world.folder / "elsewhere"
    other.mkdir()
    (other / "own.db").write_bytes(store_template.read_bytes())
    before = world.runs()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'own.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert ran("pretrain", "--data", world.logs, "--epochs", 1).code == 0
    (run,) = ran("runs", "--json").json
    assert (run["kind"], run["status"]) == ("pretrain", "FINISHED")
    assert list((other / "artifacts").glob("*/artifacts/base/base.json"))
    assert world.runs() == before


def test_excluded_domains_may_be_several(world: World, ran: Ran) -> None:
    options = ["--exclude-domain", "games", "--exclude-domain", "movies"]
    assert ran("pretrain", "--data", world.logs, *options, "--json").json["domains"] == ["books"]


def test_an_unknown_domain_to_exclude_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("pretrain", "--data", world.logs, "--exclude-domain", "book")
    assert done.code == 2
    assert "Did you mean 'books'?" in done.err


def test_logs_may_be_several_files(world: World, ran: Ran) -> None:
    half = world.frame.height // 2
    world.frame.head(half).write_parquet("one.parquet")
    world.frame.tail(world.frame.height - half).write_csv("two.csv")
    done = ran("pretrain", "--data", "one.parquet", "--data", "two.csv", "--json")
    assert done.json["base_digest"] == world.load(world.base).digest


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: f.drop("item_id"), "item_id"),
        (lambda f: f.with_columns(weight=pl.lit(-1.0)), "weight"),
        (lambda f: f.with_columns(timestamp=pl.col("timestamp").cast(pl.Int64) * 1000), "millisec"),
        (lambda f: f.with_columns(domain=pl.lit("")), "domain"),
        (lambda f: f.head(0), "empty"),
    ],
    ids=["column", "weight", "milliseconds", "domain", "rows"],
)
def test_logs_that_break_the_contract_exit_with_2_and_leave_no_run(
    world: World, ran: Ran, harm: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    before = world.runs()
    harm(world.frame).write_parquet("bad.parquet")
    done = ran("pretrain", "--data", "bad.parquet")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert world.runs() == before


def test_a_truncated_file_exits_with_2(world: World, ran: Ran) -> None:
    Path("cut.parquet").write_bytes(world.logs.read_bytes()[:2000])
    done = ran("pretrain", "--data", "cut.parquet")
    assert done.code == 2
    assert "cut.parquet could not be read" in done.err


def test_logs_that_are_not_there_exit_with_2(world: World, ran: Ran) -> None:
    done = ran("pretrain", "--data", "nowhere.parquet")
    assert done.code == 2
    assert "nowhere.parquet does not exist" in done.err


@pytest.mark.parametrize("option", [["--dim", 0], ["--epochs", 0], ["--device", "tpu"]])
def test_an_option_out_of_range_exits_with_2(world: World, ran: Ran, option: list[object]) -> None:
    assert ran("pretrain", "--data", world.logs, *option).code == 2


def test_a_loss_that_is_not_finite_exits_with_2_and_the_run_failed(world: World, ran: Ran) -> None:
    done = ran("pretrain", "--data", world.logs, "--set", "train.learning_rate=1e38")
    assert done.code == 2
    assert "finite" in done.err
    run = world.newest()
    assert run.status == "FAILED"
    assert not (world.artifacts(run.uri) / "base").exists()


def test_a_column_split_of_train_alone_is_enough_and_the_cut_is_said(
    world: World, ran: Ran
) -> None:
    world.frame.with_columns(split=pl.lit("train")).write_parquet("train.parquet")
    done = ran("pretrain", "--data", "train.parquet", "--split", "column", "--json")
    assert done.code == 0
    assert "has no `valid`" in done.err
    assert done.json["metrics"]["valid_recall_at_20"] is not None


def test_a_column_split_that_is_not_there_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("pretrain", "--data", world.logs, "--split", "column")
    assert done.code == 2
    assert "no column `split`" in done.err


@pytest.mark.parametrize("how", ["leave-last-out", "random"])
def test_other_splits_are_made_on_request(world: World, ran: Ran, how: str) -> None:
    assert ran("pretrain", "--data", world.logs, "--split", how).code == 0
    assert world.newest().tag("split") == how


def test_a_store_that_was_moved_does_not_write_where_it_used_to_stand(
    world: World, ran: Ran
) -> None:
    moved = world.folder / "moved"
    moved.mkdir()
    (world.folder / "mlruns").rename(moved / "mlruns")
    os.chdir(moved)
    done = ran("pretrain", "--data", world.logs)
    assert done.code == 2
    assert "the store was moved" in done.err
    assert not (world.folder / "mlruns").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_store_exits_with_2(world: World, ran: Ran) -> None:
    store = world.folder / "mlruns"
    before = sorted(store.rglob("*"))
    store.chmod(0o500)
    try:
        done = ran("pretrain", "--data", world.logs)
    finally:
        store.chmod(0o700)
    assert done.code == 2
    assert "read-only" in done.err
    assert sorted(store.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_artifact_folder_exits_with_2_before_training(world: World, ran: Ran) -> None:
    folder = world.folder / "mlruns" / "artifacts"
    before = world.runs()
    folder.chmod(0o500)
    try:
        done = ran("pretrain", "--data", world.logs)
    finally:
        folder.chmod(0o700)
    assert done.code == 2
    assert "read-only" in done.err
    assert world.runs() == before


def test_a_full_disk_exits_with_2_and_leaves_no_base(
    world: World, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from lorarec.jobs import pretrain as job

    def full(_: object, folder: Path) -> None:
        (folder / "base.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(job, "save_base", full)
    done = ran("pretrain", "--data", world.logs)
    assert done.code == 2
    assert "the disk is full" in done.err
    assert (world.newest().status, world.runs()) == ("FAILED", 5)
    assert not (world.artifacts(world.newest().uri) / "base").exists()
