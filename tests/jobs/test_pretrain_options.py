"""Pretraining with other losses, negatives, optimisers and temperatures."""

from __future__ import annotations

import pytest
from ranks import logs
from torch import nn
from world import World

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.jobs.adapt import adapt, recipe
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.sides import NO_SIDES
from lorarec.jobs.start import starting_model
from lorarec.lora.config import lora_config
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.distributed import Ranks
from lorarec.training.objective import Objective


@pytest.mark.parametrize(
    "options",
    [
        {"train.loss": "bpr", "train.negative_sampling": "uniform", "train.optimizer": "adagrad"},
        {"train.loss": "ccl", "train.margin": 0.3, "train.clip_norm": 1.0},
        {"train.negative_sampling": "in-batch", "train.decay": "cosine"},
        {"train.precision": "bfloat16", "train.warmup_share": 0.5},
    ],
    ids=["bpr", "ccl", "in-batch", "bfloat16"],
)
def test_each_way_to_train_gives_a_base_and_an_adapter_of_its_own(
    world: World, options: dict[str, object]
) -> None:
    settings = world.settings.with_options(options)
    found = pretrain(settings, [world.logs], world.store)
    assert found.base.digest != world.load(world.base).digest
    adapted = adapt(settings, "books", world.store, found.run)
    assert adapted.adapter.info.base_digest == found.base.digest


def test_a_learnt_temperature_is_the_base_s(world: World) -> None:
    settings = world.settings.with_options({"train.learn_temperature": True})
    base = pretrain(settings, [world.logs], world.store).base
    assert base.info.temperature != settings.model.temperature
    assert 0.05 < base.info.temperature < 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train.loss": "ccl", "model.similarity": "dot"}, "model.similarity=cosine"),
        ({"train.learn_temperature": True, "model.similarity": "dot"}, "no temperature"),
        ({"train.learn_temperature": True, "train.loss": "ccl"}, "softmax or bpr"),
    ],
)
def test_what_does_not_go_together_is_refused(
    world: World, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        pretrain(world.settings.with_options(options), [world.logs], world.store)


@pytest.mark.parametrize("option", [{"train.loss": "ccl"}, {"train.learn_temperature": True}])
@pytest.mark.parametrize("model", ["als", "bpr"])
def test_implicit_is_asked_for_no_cosine_before_anything_is_read(
    world: World, model: str, option: dict[str, object]
) -> None:
    settings = world.settings.with_options({"model.name": model, **option})
    with pytest.raises(ConfigError, match="compares by inner products"):
        pretrain(settings, [world.logs / "absent.parquet"], world.store)


def test_a_refit_on_all_rows_keeps_its_last_epoch(world: World) -> None:
    update = {"data.valid_share": 0.0, "data.test_share": 0.0, "train.epochs": 2}
    found = pretrain(world.settings.with_options(update), [world.logs], world.store)
    counts = found.base.info.split.counts
    assert list(counts) == ["train"]
    assert found.history.best_epoch == 2
    assert "valid_recall@20" not in found.base.info.metrics


def test_negatives_follow_the_settings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    powers = []
    loss_of = Objective.__call__

    def noted(self, model, domain, *others):  # type: ignore[no-untyped-def]
        powers.append((self.sampling, float(domain.sampler.log_probability.exp().std())))
        return loss_of(self, model, domain, *others)

    monkeypatch.setattr(Objective, "__call__", noted)
    for options in ({"train.negative_sampling": "uniform"}, {"train.negative_power": 0.5}):
        settings = world.settings.with_options({**options, "train.epochs": 1})
        pretrain(settings, [world.logs], world.store)
    uniform = [spread for sampling, spread in powers if sampling == "uniform"]
    popular = [spread for sampling, spread in powers if sampling == "popularity"]
    assert max(uniform) < 1e-6 < min(popular)


def test_how_an_adapter_is_trained_is_in_its_recipe(world: World) -> None:
    config = lora_config(2, 8)
    other = world.settings.with_options({"train.loss": "bpr"})
    assert recipe(world.settings, config) != recipe(other, config)
    same = world.settings.with_options({"train.epochs": 7})
    assert recipe(world.settings, config) == recipe(same, config)


def test_the_bias_of_a_ccl_base_is_finite_and_small(world: World) -> None:
    settings = world.settings.with_options({"train.loss": "ccl", "train.epochs": 4})
    model = pretrain(settings, [world.logs], world.store).base.model
    assert isinstance(model, MatrixFactorization)
    assert float(model.tables()["bias"].abs().max()) < 2.0


def test_what_implicit_trains_is_not_for_several_processes(world: World) -> None:
    settings = world.settings.with_options({"model.name": "als"})
    with pytest.raises(ConfigError, match=r"--model als was started as 2 ranks"):
        pretrain(settings, [world.logs], world.store, ranks=Ranks(0, 2, local_rank=0))


@pytest.mark.parametrize(
    ("options", "ranks", "words"),
    [
        ({}, Ranks(), "one process by itself"),
        ({"model.name": "als"}, Ranks(0, 1, 0), "--model als is trained by implicit"),
        (
            {"model.name": "two-tower", "model.history_table": "separate"},
            Ranks(0, 2, 0),
            "model.history_table=shared",
        ),
    ],
)
def test_tables_in_shards_are_refused_where_nobody_shares_them(
    world: World, options: dict[str, object], ranks: Ranks, words: str
) -> None:
    settings = world.settings.with_options({"train.shard_tables": True, **options})
    with pytest.raises(ConfigError, match=words):
        pretrain(settings, [world.logs], world.store, ranks=ranks)


def test_a_process_by_itself_that_trains_for_another_command_has_whole_tables() -> None:
    settings = Settings().with_options({"train.shard_tables": True, "model.dim": 4})
    model = starting_model(settings, logs().part("train"), NO_SIDES)
    assert isinstance(model.users, nn.Embedding)
