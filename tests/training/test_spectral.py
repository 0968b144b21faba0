from __future__ import annotations

import pytest
import torch
from scipy import sparse
from torch.nn import functional

from lorarec.training.spectral import spectral_tables


def two_groups(users: int = 20, items: int = 16) -> sparse.csr_matrix:
    """Even users like even items and odd ones odd; the last user and item have no row."""
    dense = torch.zeros(users + 1, items + 1)
    for user in range(users):
        dense[user, user % 2 : items : 2] = 1
    return sparse.csr_matrix(dense.numpy())


@pytest.mark.parametrize("dim", [1, 2, 8, 40])
def test_tables_have_a_float32_row_for_every_user_and_item(dim: int) -> None:
    users, items = spectral_tables(two_groups(), dim, seed=0)
    assert (users.shape, items.shape) == ((21, dim), (17, dim))
    assert users.dtype == items.dtype == torch.float32
    assert bool(torch.isfinite(users).all() and torch.isfinite(items).all())


def test_users_lie_nearer_to_their_group_s_items() -> None:
    users, items = spectral_tables(two_groups(), 4, seed=0)
    near = functional.normalize(users[:20], dim=1) @ functional.normalize(items[:16], dim=1).T
    same = torch.arange(20).unsqueeze(1) % 2 == torch.arange(16) % 2
    assert float(near[same].min()) > float(near[~same].max()) + 0.3


def test_rows_with_interactions_are_about_of_length_one() -> None:
    users, items = spectral_tables(two_groups(), 8, seed=0)
    for table in (users[:20], items[:16]):
        lengths = table.norm(dim=1)
        assert bool(((lengths > 0.7) & (lengths < 1.3)).all())


@pytest.mark.parametrize("dim", [2, 8, 40])
def test_rows_without_interactions_start_small_and_not_at_zero(dim: int) -> None:
    users, items = spectral_tables(two_groups(), dim, seed=0)
    for row in (users[20], items[16]):
        assert 0 < float(row.norm()) < 0.5


def test_counts_do_not_matter_but_occurrence() -> None:
    twice = two_groups() * 2
    first, second = (spectral_tables(m, 4, seed=0) for m in (two_groups(), twice))
    assert torch.equal(first[0], second[0])


def test_the_logs_are_not_written_to() -> None:
    logs = two_groups() * 3
    spectral_tables(logs, 4, seed=0)
    assert set(logs.data.tolist()) == {3.0}


def test_the_same_seed_gives_the_same_tables() -> None:
    first, second, other = (spectral_tables(two_groups(), 6, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    spectral_tables(two_groups(), 4, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_one_user_and_one_item_are_enough() -> None:
    users, items = spectral_tables(sparse.csr_matrix([[1.0]]), 8, seed=0)
    assert (users.shape, items.shape) == ((1, 8), (1, 8))
