from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from lorarec.errors import AdapterMismatchError
from lorarec.lora.attach import (
    Touched,
    adapter_parameters,
    adapter_state,
    attach,
    deltas,
    disabled,
    merged,
    restore,
)
from lorarec.lora.config import TARGETS, AdapterConfig, full_config, lora_config
from lorarec.models.artefact import weights_of
from lorarec.models.base import BaseModel

Pairs = tuple[Tensor, Tensor]
Train = Callable[[BaseModel], BaseModel]
CONFIGS = {
    ",".join(some): lora_config(2, 4, ",".join(some))
    for count in range(1, 5)
    for some in combinations(TARGETS, count)
} | {"full": full_config()}
every_shape = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
every_base = pytest.mark.parametrize(
    ("similarity", "bias"), [("cosine", True), ("cosine", False), ("dot", True), ("dot", False)]
)


@pytest.fixture
def base(base_maker: Callable[..., Any]) -> BaseModel:
    model: BaseModel = base_maker().model
    return model


@every_shape
@every_base
def test_a_fresh_adapter_scores_as_the_base_to_the_bit(
    base_maker: Callable[..., Any],
    similarity: str,
    bias: bool,
    config: AdapterConfig,
    touched: Touched,
    known_pairs: Pairs,
) -> None:
    base = base_maker(similarity, bias).model
    assert torch.equal(attach(base, config, touched).score(*known_pairs), base.score(*known_pairs))


@every_shape
def test_a_fresh_adapter_has_the_base_s_vectors_to_the_bit(
    base: BaseModel, config: AdapterConfig, touched: Touched
) -> None:
    model = attach(base, config, touched)
    users, items = torch.arange(6), torch.arange(8)
    assert torch.equal(model.user_vectors(users), base.user_vectors(users))
    assert torch.equal(model.item_vectors(items), base.item_vectors(items))


@every_shape
def test_training_moves_the_adapter_s_scores(
    base: BaseModel, config: AdapterConfig, touched: Touched, train_a_bit: Train, known_pairs: Pairs
) -> None:
    model = train_a_bit(attach(base, config, touched))
    assert not torch.equal(model.score(*known_pairs), base.score(*known_pairs))


@every_shape
def test_training_leaves_the_base_s_weights_to_the_bit(
    base_maker: Callable[..., Any], config: AdapterConfig, touched: Touched, train_a_bit: Train
) -> None:
    base = base_maker().model
    before = {name: array.copy() for name, array in weights_of(base).items()}
    train_a_bit(attach(base, config, touched))
    after = weights_of(base)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


@every_shape
@every_base
def test_a_disabled_adapter_scores_as_the_base_to_the_bit(
    base_maker: Callable[..., Any],
    similarity: str,
    bias: bool,
    config: AdapterConfig,
    touched: Touched,
    train_a_bit: Train,
    known_pairs: Pairs,
) -> None:
    base = base_maker(similarity, bias).model
    model = train_a_bit(attach(base, config, touched))
    with disabled(model):
        assert torch.equal(model.score(*known_pairs), base.score(*known_pairs))


@pytest.mark.parametrize(
    "config", [lora_config(2, 4, "users,items"), full_config()], ids=["lora", "full"]
)
def test_rows_that_no_batch_touched_keep_the_base_s_vector_to_the_bit(
    base: BaseModel, config: AdapterConfig, touched: Touched, train_a_bit: Train
) -> None:
    model = train_a_bit(attach(base, config, touched))
    users, items = torch.tensor([1, 3, 4]), torch.tensor([0, 3, 5, 6])
    assert torch.equal(model.user_vectors(users), base.user_vectors(users))
    assert torch.equal(model.item_vectors(items), base.item_vectors(items))


def test_the_transform_moves_rows_that_were_never_touched(
    base: BaseModel, touched: Touched, train_a_bit: Train
) -> None:
    model = train_a_bit(attach(base, lora_config(2, 4, "transform"), touched))
    rows = torch.tensor([0, 3, 5, 6])
    assert not torch.equal(model.item_vectors(rows), base.item_vectors(rows))


def test_an_adapter_is_on_again_after_disabled(
    base: BaseModel, touched: Touched, train_a_bit: Train, all_pairs: Pairs
) -> None:
    model = train_a_bit(attach(base, lora_config(2, 4), touched))
    before = model.score(*all_pairs)
    with pytest.raises(ValueError, match="inside"), disabled(model):
        raise ValueError("inside")
    assert torch.equal(model.score(*all_pairs), before)


def test_disabled_blocks_nest(base: BaseModel, touched: Touched) -> None:
    model = attach(base, lora_config(2, 4), touched)
    with disabled(model):
        with disabled(model):
            pass
        assert not any(delta.enabled for delta in deltas(model).values())
    assert all(delta.enabled for delta in deltas(model).values())


def test_grown_rows_keep_their_vectors_while_disabled(
    base: BaseModel, touched: Touched, train_a_bit: Train
) -> None:
    model = train_a_bit(attach(base, lora_config(2, 4, "users,items"), touched))
    grown = torch.tensor([8, 9, 10])
    before = model.item_vectors(grown)
    with disabled(model):
        assert torch.equal(model.item_vectors(grown), before)


@every_shape
def test_grown_rows_exist_and_train_whatever_the_targets_are(
    base: BaseModel, config: AdapterConfig, touched: Touched, train_a_bit: Train
) -> None:
    model = attach(base, config, touched)
    assert torch.equal(model.users(torch.tensor([6, 7])), touched.grown_users)
    train_a_bit(model)
    assert not torch.equal(model.users(torch.tensor([6, 7])), touched.grown_users)


def test_users_and_items_have_factors_of_their_own(base: BaseModel, touched: Touched) -> None:
    parameters = adapter_parameters(attach(base, lora_config(2, 4, "users,items"), touched))
    assert sorted(parameters) == [
        "items.a",
        "items.b",
        "items.grown",
        "users.a",
        "users.b",
        "users.grown",
    ]
    assert len({p.data_ptr() for p in parameters.values()}) == 6


def test_a_table_that_is_no_target_has_no_factors(base: BaseModel, touched: Touched) -> None:
    parameters = adapter_parameters(attach(base, lora_config(2, 4, "items"), touched))
    assert not {"users.a", "users.b"} & set(parameters)


def test_each_target_has_the_rank_that_names_it(base: BaseModel, touched: Touched) -> None:
    config = lora_config(2, 4, "users:1,items:3,transform")
    parameters = adapter_parameters(attach(base, config, touched))
    ranks = [parameters[name].shape[1] for name in ("users.a", "items.a", "transform.p")]
    assert ranks == [1, 3, 2]


def test_the_same_seed_gives_the_same_factors(base: BaseModel, touched: Touched) -> None:
    def start(seed: int) -> Tensor:
        return adapter_parameters(attach(base, lora_config(2, 4, seed=seed), touched))["items.b"]

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_attaching_to_an_adapted_model_is_refused(base: BaseModel, touched: Touched) -> None:
    model = attach(base, lora_config(2, 4, "bias"), touched)
    with pytest.raises(AdapterMismatchError, match="base itself"):
        attach(model, lora_config(2, 4), touched)


def test_a_base_has_no_deltas(base: BaseModel) -> None:
    assert deltas(base) == {}
    assert adapter_state(base) == {}


@every_shape
def test_a_merged_copy_scores_as_the_adapted_model(
    base: BaseModel, config: AdapterConfig, touched: Touched, train_a_bit: Train, all_pairs: Pairs
) -> None:
    model = train_a_bit(attach(base, config, touched))
    torch.testing.assert_close(
        merged(model).score(*all_pairs), model.score(*all_pairs), rtol=1e-5, atol=1e-5
    )


@every_base
def test_merging_many_times_leaves_the_base_to_the_bit(
    base_maker: Callable[..., Any],
    similarity: str,
    bias: bool,
    touched: Touched,
    train_a_bit: Train,
    known_pairs: Pairs,
) -> None:
    base = base_maker(similarity, bias).model
    before = {name: array.copy() for name, array in weights_of(base).items()}
    scores = base.score(*known_pairs)
    model = train_a_bit(attach(base, lora_config(2, 4), touched))
    for _ in range(20):
        merged(model)
    after = weights_of(base)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert torch.equal(base.score(*known_pairs), scores)


def test_editing_a_merged_copy_does_not_reach_the_base(base: BaseModel, touched: Touched) -> None:
    before = base.users(torch.arange(6))
    copy = merged(attach(base, lora_config(2, 4), touched))
    with torch.no_grad():
        for parameter in copy.users.parameters():
            parameter.zero_()
    assert torch.equal(base.users(torch.arange(6)), before)


@every_shape
def test_restored_state_scores_to_the_bit(
    base: BaseModel, config: AdapterConfig, touched: Touched, train_a_bit: Train, all_pairs: Pairs
) -> None:
    model = train_a_bit(attach(base, config, touched))
    again = restore(base, config, adapter_state(model))
    assert torch.equal(again.score(*all_pairs), model.score(*all_pairs))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("items.a", torch.zeros(4, 3)),
        ("items.a", None),
        ("items.extra", torch.zeros(1)),
        ("users.b", torch.full((2, 4), torch.nan)),
        ("bias.b", torch.full((7, 1), torch.inf)),
        ("items.grown", torch.zeros(3, 5)),
    ],
    ids=["shape", "missing", "unknown", "nan", "inf", "width of grown rows"],
)
def test_a_state_that_does_not_fit_is_refused_by_name(
    base: BaseModel, touched: Touched, name: str, value: Tensor | None
) -> None:
    config = lora_config(2, 4)
    state = adapter_state(attach(base, config, touched)) | ({} if value is None else {name: value})
    if value is None:
        del state[name]
    with pytest.raises(AdapterMismatchError, match=name):
        restore(base, config, state)


def test_without_grown_rows_the_tables_keep_their_length(base: BaseModel, touched: Touched) -> None:
    few = replace(touched, grown_users=torch.empty(0, 4), grown_items=torch.empty(0, 4))
    model = attach(base, lora_config(2, 4, "users,items"), few)
    assert "users.grown" not in adapter_parameters(model)
    with pytest.raises(IndexError):
        model.users(torch.tensor([6]))
