"""Scores by ids: known ones by their vectors, cold ones by the domain's mean, all finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lorarec.jobs import scorer as scoring
from lorarec.jobs.scorer import Scorer

CATALOGUE, MEMBERS = ["i1", "i4", "i6"], ["u0", "u3"]
USERS, ITEMS = ["u0", "u5", "nobody", "u2"], ["i7", "nothing", "i1", "i0"]


@pytest.fixture
def base(base_maker: Any) -> Any:
    return base_maker()


@pytest.fixture
def scorer(base: Any) -> Scorer:
    return Scorer(base.model, base.users, base.items, CATALOGUE, MEMBERS)


def vectors(base: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All user vectors, item vectors and item biases."""
    users, items = torch.arange(len(base.users)), torch.arange(len(base.items))
    model = base.model
    return (
        model.user_vectors(users).numpy(),
        model.item_vectors(items).numpy(),
        model.item_bias(items).numpy(),
    )


def test_a_known_pair_scores_its_product_and_bias(base: Any, scorer: Scorer) -> None:
    users, items, bias = vectors(base)
    expected = [users[2] @ items[5] + bias[5], users[0] @ items[7] + bias[7]]
    np.testing.assert_allclose(scorer.score(["u2", "u0"], ["i5", "i7"]), expected, rtol=1e-5)


def test_a_cold_item_has_the_mean_of_the_domains_catalogue(base: Any, scorer: Scorer) -> None:
    users, items, bias = vectors(base)
    expected = users[3] @ items[[1, 4, 6]].mean(0) + bias[[1, 4, 6]].mean()
    np.testing.assert_allclose(scorer.score(["u3"], ["nothing"]), [expected], rtol=1e-5)


def test_a_cold_user_has_the_mean_of_the_domains_users(base: Any, scorer: Scorer) -> None:
    users, items, bias = vectors(base)
    expected = users[[0, 3]].mean(0) @ items[2] + bias[2]
    np.testing.assert_allclose(scorer.score(["nobody"], ["i2"]), [expected], rtol=1e-5)


def test_scores_keep_the_order_of_the_pairs(scorer: Scorer) -> None:
    forward = scorer.score(USERS, ITEMS)
    assert len(set(forward.tolist())) == len(USERS)
    np.testing.assert_array_equal(scorer.score(USERS[::-1], ITEMS[::-1]), forward[::-1])


def test_blocks_change_nothing(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scorer.score(USERS, ITEMS)
    monkeypatch.setattr(scoring, "BLOCK", 3)
    np.testing.assert_array_equal(scorer.score(USERS, ITEMS), whole)


def test_nothing_to_score_gives_nothing(scorer: Scorer) -> None:
    assert scorer.score([], []).shape == (0,)


def test_a_domain_that_the_model_knows_nothing_of_still_scores_finitely(base: Any) -> None:
    stranger = Scorer(base.model, base.users, base.items, ["x"], ["y"])
    assert np.isfinite(stranger.score(["y", "u0", "y"], ["x", "x", "i0"])).all()


def test_a_base_without_a_bias_scores_the_product(base_maker: Any) -> None:
    base = base_maker(bias=False)
    scorer = Scorer(base.model, base.users, base.items, CATALOGUE, MEMBERS)
    user = base.model.user_vectors(torch.tensor([0]))[0]
    item = base.model.item_vectors(torch.tensor([3]))[0]
    np.testing.assert_allclose(scorer.score(["u0"], ["i3"]), [float(user @ item)], rtol=1e-5)


def test_users_and_items_without_a_row_are_marked(scorer: Scorer) -> None:
    assert scorer.user_vectors(USERS)[1].tolist() == [True, True, False, True]
    assert scorer.item_vectors(ITEMS)[2].tolist() == [True, False, True, True]


def test_a_pair_scores_as_its_vectors_do(scorer: Scorer) -> None:
    users, _ = scorer.user_vectors(USERS)
    items, bias, _ = scorer.item_vectors(ITEMS)
    np.testing.assert_allclose(scorer.score(USERS, ITEMS), (users * items).sum(1) + bias, rtol=1e-6)
