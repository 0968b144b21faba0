"""implicit's models come in with their rankings, tested against implicit itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from threadpoolctl import threadpool_limits

from lorarec.errors import DataError
from lorarec.models.importing.arrays import read_npz
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.implicit_model import from_implicit, lifted
from lorarec.models.importing.scaling import rescaled

with threadpool_limits(1, "blas"):
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from implicit.cpu.lmf import LogisticMatrixFactorization

USERS, ITEMS = 40, 30
KINDS = {
    "implicit ALS": AlternatingLeastSquares,
    "implicit BPR": BayesianPersonalizedRanking,
    "implicit LMF": LogisticMatrixFactorization,
}


@pytest.fixture(scope="module", params=KINDS)
def fitted(request: pytest.FixtureRequest) -> tuple[str, Any]:
    pairs = sparse.random(USERS, ITEMS, 0.2, format="csr", random_state=3, dtype=np.float32)
    pairs.data[:] = 1
    with threadpool_limits(1, "blas"):
        model = KINDS[request.param](factors=6, iterations=8, num_threads=1, random_state=0)
        model.fit(pairs, show_progress=False)
    return request.param, model


def scores(factors: Factors, scale: float = 1.0) -> torch.Tensor:
    model = rescaled(factors, scale)
    found = model.user_vectors(torch.arange(USERS)) @ model.item_vectors(torch.arange(ITEMS)).T
    bias = model.item_bias(torch.arange(ITEMS))
    return found if bias is None else found + bias


@pytest.mark.parametrize("scale", [1.0, 0.25, 8.0])
def test_the_top_k_is_implicits_own(fitted: tuple[str, Any], scale: float) -> None:
    _, model = fitted
    ids, _ = model.recommend(np.arange(USERS), None, N=10, filter_already_liked_items=False)
    top = scores(from_implicit(model), scale).topk(10).indices
    assert (top.numpy() == ids).all()


def test_the_scores_are_implicits_own_but_for_a_constant_of_the_user(
    fitted: tuple[str, Any],
) -> None:
    kind, model = fitted
    found = scores(from_implicit(model)).numpy()
    beyond = found - model.user_factors @ model.item_factors.T
    np.testing.assert_allclose(beyond, beyond[:, :1].repeat(ITEMS, 1), atol=1e-5)
    if kind != "implicit LMF":
        np.testing.assert_allclose(beyond, 0, atol=1e-6)


def test_a_saved_model_is_the_live_one(fitted: tuple[str, Any], tmp_path: Path) -> None:
    kind, model = fitted
    model.save(str(tmp_path / "m.npz"))
    saved, live = read_npz(tmp_path / "m.npz", {}, {}), from_implicit(model)
    assert (saved.kind, saved.dim) == (live.kind, live.dim) == (kind, 6)
    assert saved.users.tobytes() == live.users.tobytes()
    assert saved.items.tobytes() == live.items.tobytes()
    assert (saved.item_bias is None) == (kind == "implicit ALS")


def test_user_biases_are_left_out_with_a_word(fitted: tuple[str, Any]) -> None:
    kind, model = fitted
    notes = from_implicit(model).notes
    assert bool(notes) == (kind == "implicit LMF")


def test_a_column_that_is_not_all_ones_stays_a_factor() -> None:
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 7)).astype(np.float32) for n in (USERS, ITEMS))
    found = lifted({"user_factors": users, "item_factors": items, "factors": np.array(6)}, "m", {})
    assert (found.dim, found.item_bias) == (7, None)
    np.testing.assert_allclose(scores(found).numpy(), users @ items.T, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_not_fitted_is_refused() -> None:
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=4)
    with pytest.raises(DataError, match=r"has no item_factors, user_factors.*call fit first"):
        from_implicit(model)


def test_columns_of_no_model_of_implicit_are_refused(tmp_path: Path) -> None:
    ones = np.ones((3, 9), np.float32)
    np.savez(tmp_path / "m.npz", user_factors=ones, item_factors=ones, factors=4)
    with pytest.raises(DataError, match=r"says 4 factors and has 9 columns"):
        read_npz(tmp_path / "m.npz", {}, {})


@given(st.integers(0, 2**16), st.integers(-12, 12), st.floats(1e-3, 1e3))
def test_a_power_of_two_keeps_every_bit_of_a_score(seed: int, power: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(USERS, 5)).astype(np.float32) * np.float32(ratio)
    items = rng.normal(size=(ITEMS, 5)).astype(np.float32)
    factors = Factors(users, items, "npz", rng.normal(size=ITEMS).astype(np.float32))
    assert torch.equal(scores(factors, 2.0**power), scores(factors) * 2.0**power)
    model = rescaled(factors, 2.0**power)
    rms = [float(table.square().mean().sqrt()) for table in list(model.tables().values())[:2]]
    assert 0.49 < rms[0] / rms[1] < 2.01
