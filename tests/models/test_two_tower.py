"""Two towers: where they begin, what a history and features add, who has no row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from towers import BIAS, EVERY, HAD, ITEMS, USERS, embedding

from lorarec.data.features.table import FeatureTable
from lorarec.errors import DataError
from lorarec.models.base import Similarity
from lorarec.models.features import FeatureEmbedding
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import Cold, TowerConfig, TwoTower


def towers(
    similarity: Similarity = "dot", bias: bool = False, features: bool = False, **shape: object
) -> TwoTower:
    """Over the tables above."""
    return TwoTower.from_tables(
        USERS.clone(),
        ITEMS.clone(),
        similarity,
        0.2,
        TowerConfig(**shape),  # type: ignore[arg-type]
        HAD,
        embedding(3) if features else None,
        embedding(5) if features else None,
        BIAS.clone() if bias else None,
    )


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("bias", [True, False])
def test_without_all_else_it_scores_as_matrix_factorization_to_the_bit(
    similarity: Similarity, bias: bool
) -> None:
    plain = MatrixFactorization.from_tables(USERS, ITEMS, similarity, 0.2, BIAS if bias else None)
    assert torch.equal(towers(similarity, bias).score(*EVERY), plain.score(*EVERY))


def test_layers_begin_as_nothing() -> None:
    assert torch.equal(towers(layers=(7, 3)).score(*EVERY), towers().score(*EVERY))


def test_features_begin_as_nothing() -> None:
    model = towers(features=True)
    for parameter in [*model.user_tower.parameters(), *model.item_tower.parameters()]:
        nn.init.zeros_(parameter)
    assert torch.equal(model.score(*EVERY), towers().score(*EVERY))
    fresh = FeatureEmbedding(
        FeatureTable(
            np.ones(2, bool),
            {"c": np.array([0, 1])},
            {},
            (),
            np.empty((2, 0)),
            np.empty((2, 0)),
            {},
        ),
        {"c": 2},
        4,
    )
    assert not fresh(torch.arange(2)).any()


@pytest.mark.parametrize(("power", "root"), [(0.5, 3**0.5), (1.0, 3.0), (0.0, 1.0)])
def test_a_history_is_the_sum_of_its_items_over_a_power_of_their_number(
    power: float, root: float
) -> None:
    found = towers(history="mean", history_power=power).user_inputs(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found[0], USERS[0] + (ITEMS[0] + ITEMS[1] + ITEMS[4]) / root)
    torch.testing.assert_close(found[1], USERS[1] + ITEMS[2])
    torch.testing.assert_close(found[2], USERS[2])


@pytest.mark.parametrize("history", ["mean", "attention"])
def test_an_item_left_out_is_as_if_the_user_had_never_had_it(history: str) -> None:
    rows, items = torch.tensor([0, 0, 1, 2, 0]), torch.tensor([1, 4, 2, 0, 3])
    model = towers(history=history)
    shorter = HAD.toarray()
    expected = []
    if model.history is not None and model.history.gate is not None:
        with torch.no_grad():
            model.history.gate.weight.copy_(torch.tensor([[0.5, -1.0, 0.25, 0.1]]))
    for row, item in zip(rows.tolist(), items.tolist(), strict=True):
        left = shorter.copy()
        left[row, item] = 0
        other = model.with_cold(Cold(torch.zeros(3, dtype=torch.int64), sparse.csr_matrix(left)))
        own = other.user_inputs(torch.tensor([3 + row])) + USERS[row]
        expected.append(own.squeeze(0))
    found = model.user_inputs(rows, without=items)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_attention_begins_as_the_mean_and_learns_whom_to_hear() -> None:
    mean, attention = (towers(history=name, history_power=1.0) for name in ("mean", "attention"))
    assert torch.equal(mean.score(*EVERY), attention.score(*EVERY))
    assert attention.history is not None
    assert attention.history.gate is not None
    with torch.no_grad():
        attention.history.gate.weight.copy_(ITEMS[4:5] * 2)
    loudest = attention.user_inputs(torch.tensor([0]))[0].detach() - USERS[0]
    gap = [float((loudest - ITEMS[item]).norm()) for item in (0, 1, 4)]
    assert gap[2] < min(gap[:2])


def test_the_gradient_of_a_history_is_that_of_its_sum() -> None:
    model = towers(history="mean", history_table="separate")
    assert model.history is not None
    assert model.history.table is not None
    goal = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    rows, out = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 2, 3])
    (model.user_inputs(rows, without=out) * goal).sum().backward()
    table = ITEMS.clone().requires_grad_()
    by_hand = torch.stack(
        [
            (table[1] + table[4]) / 2**0.5,
            (table[0] + table[4]) / 2**0.5,
            table[2] * 0,
            table[2] * 0,
        ]
    )
    (by_hand * goal).sum().backward()
    found = model.history.table.weight.grad
    assert found is not None
    torch.testing.assert_close(found.to_dense(), table.grad, rtol=1e-5, atol=1e-6)


def test_features_are_summed_by_kind() -> None:
    model = towers(features=True)
    parts = model.item_tower.features.parts  # type: ignore[union-attr,operator]
    weight = {name: dict(part.named_parameters()) for name, part in parts.items()}
    row = 4  # code 1, list [1], number 1, vector [1, 1]
    expected = (
        ITEMS[row]
        + weight["0_c"]["table.weight"][1]
        + weight["1_l"]["table.weight"][1]
        + weight["numeric"]["linear.weight"] @ torch.tensor([1.0, 0.0])
        + weight["2_v"]["linear.weight"] @ torch.tensor([1.0, 1.0, 0.0])
    )
    torch.testing.assert_close(model.item_inputs(torch.tensor([row]))[0], expected)


def test_a_cold_item_is_its_features_and_a_cold_user_its_history() -> None:
    model = towers(features=True, history="mean", bias=True)
    had = sparse.csr_matrix(np.array([[0, 1, 0, 0, 0]]))
    cold = model.with_cold(Cold(torch.tensor([3]), had), Cold(torch.tensor([4]), bias=-7.0))
    user_features = model.user_tower.features(torch.tensor([3]))  # type: ignore[misc]
    item_features = model.item_tower.features(torch.tensor([4]))  # type: ignore[misc]
    expected = user_features + model.item_inputs(torch.tensor([1]))
    torch.testing.assert_close(cold.user_inputs(torch.tensor([3])), expected)
    torch.testing.assert_close(cold.item_inputs(torch.tensor([5])), item_features)
    assert cold.item_bias(torch.tensor([5, 1])).tolist() == [-7.0, float(BIAS[1])]  # type: ignore[union-attr]
    assert torch.equal(cold.score(*EVERY), model.score(*EVERY))


def test_behind_the_cold_rows_there_are_none() -> None:
    model = towers().with_cold(items=Cold(torch.tensor([0])))
    with pytest.raises(DataError, match="outside"):
        model.item_vectors(torch.tensor([6]))


def test_a_replaced_module_leaves_histories_with_the_base() -> None:
    model = towers(history="mean")
    other = model.replaced(items=nn.Embedding(5, 4))
    assert torch.equal(other.user_vectors(torch.arange(3)), model.user_vectors(torch.arange(3)))
    assert other.user_tower is model.user_tower
    with pytest.raises(KeyError, match="colour"):
        model.replaced(colour=None)


def test_ids_are_dropped_in_training_alone() -> None:
    model = towers(history="mean", id_dropout=0.5)
    every = torch.zeros(400, dtype=torch.int64)
    asked = model.user_inputs(every)
    assert torch.equal(asked, asked[:1].expand(400, 4))
    model.train()
    dropped = (model.user_inputs(every) - asked[0]).norm(dim=1) > 1e-6
    assert 120 < int(dropped.sum()) < 280


def test_layers_can_be_found_by_pattern() -> None:
    model = towers(layers=(7,), features=True)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert {name.partition(".")[0] for name in linear} == {"user_tower", "item_tower", "transform"}
    assert "item_tower.layers.0" in linear


def test_making_a_model_draws_nothing_from_the_shared_generator() -> None:
    before = torch.get_rng_state()
    towers(layers=(7,), features=True, history="attention")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_adapted_model_has_no_plain_tensors() -> None:
    class Other(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return rows

    with pytest.raises(TypeError, match="Other"):
        towers().replaced(transform=Other()).tensors()
