from __future__ import annotations

import pytest
import torch
from torch import nn

from lorarec.errors import DataError
from lorarec.models.base import ItemBias, as_rows
from lorarec.models.matrix_factorization import MatrixFactorization

USERS = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
ITEMS = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-2.0, 0.0]])
BIAS = torch.tensor([[0.5], [0.25], [-1.0]])


def test_dot_scores_by_the_inner_product() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 0.5)
    assert model.score(torch.tensor([0, 1]), torch.tensor([0, 1])).tolist() == [3.0, 10.0]


def test_cosine_scores_by_the_angle_over_the_temperature() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "cosine", 0.5)
    scores = model.score(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]))
    torch.testing.assert_close(scores, torch.tensor([0.6, -0.6, 1.0]) / 0.5)


def test_the_temperature_is_of_the_cosine_alone() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 0.5)
    assert torch.equal(model.user_vectors(torch.tensor([0])), USERS[:1])


def test_cosine_users_carry_the_temperature_and_items_are_of_length_one() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "cosine", 0.25)
    torch.testing.assert_close(
        model.user_vectors(torch.arange(2)).norm(dim=1), torch.full((2,), 4.0)
    )
    torch.testing.assert_close(model.item_vectors(torch.arange(3)).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_bias_is_added_to_the_score(similarity: str) -> None:
    rows = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 2])
    plain = MatrixFactorization.from_tables(USERS, ITEMS, similarity, 0.5)  # type: ignore[arg-type]
    biased = MatrixFactorization.from_tables(USERS, ITEMS, similarity, 0.5, BIAS)  # type: ignore[arg-type]
    torch.testing.assert_close(biased.score(*rows) - plain.score(*rows), BIAS.squeeze(1))


def test_a_model_without_bias_says_so() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0)
    assert model.item_bias(torch.tensor([0])) is None


def test_an_all_zero_vector_has_a_finite_cosine() -> None:
    model = MatrixFactorization.from_tables(torch.zeros(1, 2), ITEMS, "cosine", 0.15)
    assert model.score(torch.zeros(3, dtype=torch.int64), torch.arange(3)).tolist() == [0.0] * 3


def test_the_same_seed_creates_the_same_model() -> None:
    first, second, other = (MatrixFactorization.create(4, 5, 3, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.tables()["users"], second.tables()["users"])
    assert not torch.equal(first.tables()["users"], other.tables()["users"])


def test_creating_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    MatrixFactorization.create(4, 5, 3)
    assert torch.equal(torch.rand(1), expected)


def test_replaced_shares_what_is_not_named() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "cosine", 0.3, BIAS)
    items = nn.Embedding(3, 2)
    other = model.replaced(items=items)
    assert other.users is model.users
    assert other.bias is model.bias
    assert other.items is items
    assert model.items is not items
    assert (other.similarity, other.temperature, other.dim) == ("cosine", 0.3, 2)


def test_replaced_can_take_the_bias_away() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0, BIAS)
    assert model.replaced(bias=None).item_bias(torch.tensor([0])) is None


def test_replacing_what_is_not_there_is_refused() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0)
    with pytest.raises(KeyError, match="tower"):
        model.replaced(tower=nn.Identity())


def test_the_transform_is_applied_to_items_before_their_length_is_taken() -> None:
    double = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        double.weight.copy_(torch.eye(2) * 7)
    model = MatrixFactorization.from_tables(USERS, ITEMS, "cosine", 1.0)
    rows = torch.arange(3)
    torch.testing.assert_close(
        model.replaced(transform=double).item_vectors(rows), model.item_vectors(rows)
    )
    dot = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0).replaced(transform=double)
    assert torch.equal(dot.item_vectors(rows), ITEMS * 7)
    assert torch.equal(dot.user_vectors(torch.arange(2)), USERS)


def test_tables_are_the_numbers_of_a_plain_base() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0, BIAS)
    found = model.tables()
    assert sorted(found) == ["bias", "items", "users"]
    assert torch.equal(found["bias"], BIAS)


def test_tables_of_an_adapted_model_are_refused() -> None:
    model = MatrixFactorization.from_tables(USERS, ITEMS, "dot", 1.0).replaced(items=nn.Identity())
    with pytest.raises(TypeError, match="users"):
        model.tables()


def test_gradients_are_row_sparse() -> None:
    model = MatrixFactorization.create(9, 9, 3)
    model.score(torch.tensor([1, 1]), torch.tensor([2, 4])).sum().backward()
    grads = [p.grad for p in (*model.users.parameters(), *model.items.parameters())]
    assert [g.coalesce().indices().tolist() for g in grads if g is not None] == [[[1]], [[2, 4]]]


def test_the_item_bias_has_row_sparse_gradients() -> None:
    bias = ItemBias(BIAS.clone())
    bias(torch.tensor([2])).sum().backward()
    assert bias.table.weight.grad is not None
    assert bias.table.weight.grad.is_sparse


def test_rows_outside_a_table_are_named() -> None:
    with pytest.raises(DataError, match=r"2 user rows .* \[-1, 9\].* 0 to 8"):
        as_rows([0, -1, 9], 9, "user")


def test_rows_inside_a_table_become_int64() -> None:
    assert torch.equal(as_rows([0, 8], 9, "user"), torch.tensor([0, 8]))
