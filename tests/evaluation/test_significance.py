from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.errors import ConfigError, DataError
from lorarec.evaluation.significance import (
    bootstrap_interval,
    bootstrap_means,
    holm,
    intervals_of,
    mean_over_domains,
    paired_bootstrap,
    paired_p_value,
)


def values(seed: int, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).random(n)


def test_the_interval_is_about_that_of_the_normal_approximation():
    x = values(0, 2000)
    found = bootstrap_interval(x, resamples=2000)
    reach = 1.96 * x.std() / np.sqrt(len(x))
    assert found.mean == pytest.approx(x.mean())
    assert found.low == pytest.approx(x.mean() - reach, abs=0.1 * reach)
    assert found.high == pytest.approx(x.mean() + reach, abs=0.1 * reach)
    assert found.n == 2000


def test_intervals_cover_the_truth_about_as_often_as_they_claim():
    rng = np.random.default_rng(0)
    found = [bootstrap_interval(rng.random(60), resamples=300, seed=s) for s in range(200)]
    assert 0.88 <= np.mean([i.low <= 0.5 <= i.high for i in found]) <= 0.99


def test_a_seed_gives_the_same_interval_again_and_another_seed_another():
    assert bootstrap_interval(values(0), seed=1) == bootstrap_interval(values(0), seed=1)
    assert bootstrap_interval(values(0), seed=1) != bootstrap_interval(values(0), seed=2)


def test_chunks_do_not_change_the_resamples(monkeypatch):
    whole = bootstrap_means(values(0, 100), 50, 3)
    monkeypatch.setattr("lorarec.evaluation.significance._BUDGET", 700)
    np.testing.assert_allclose(bootstrap_means(values(0, 100), 50, 3), whole, rtol=1e-12)


def test_columns_share_the_resamples_of_one_alone():
    columns = np.stack([values(0), values(1)], axis=1)
    both = intervals_of(columns, bootstrap_means(columns, 1000, 0))
    for found, alone in zip(both, (values(0), values(1)), strict=True):
        expected = bootstrap_interval(alone)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_paired_interval_is_narrower_than_the_arms_own():
    a = values(0)
    b = a - 0.01 + 0.001 * values(1)
    paired, alone = paired_bootstrap(a, b), bootstrap_interval(a)
    assert paired.low > 0
    assert paired.high - paired.low < (alone.high - alone.low) / 50


def test_p_is_small_for_a_real_difference_and_one_for_none():
    assert paired_p_value(values(0) + 1, values(0)) == pytest.approx(2 / 1001)
    assert paired_p_value(values(0), values(0)) == 1.0


def test_p_is_the_same_whichever_arm_comes_first():
    assert paired_p_value(values(0), values(1)) == paired_p_value(values(1), values(0))


def test_domains_weigh_the_same_whatever_their_users():
    found = mean_over_domains([np.ones(1000), np.zeros(10)])
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 1010)


def test_domains_draw_independently():
    alone = bootstrap_interval(values(0))
    both = mean_over_domains([values(0), values(0)])
    assert (both.high - both.low) == pytest.approx((alone.high - alone.low) / np.sqrt(2), rel=0.15)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert (adjusted >= np.asarray(p)).all()
    assert (adjusted <= np.minimum(1, len(p) * np.asarray(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_thirty_thousand_users_take_seconds_at_most():
    start = time.process_time()
    bootstrap_interval(values(0, 30_000), resamples=1000)
    assert time.process_time() - start < 6


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf]])
def test_values_that_cannot_be_averaged_are_refused(bad):
    with pytest.raises(DataError, match="Expected"):
        bootstrap_interval(bad)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="confidence"):
        bootstrap_interval([1.0], confidence=95)
    with pytest.raises(ConfigError, match="resamples"):
        bootstrap_interval([1.0], resamples=0)
    with pytest.raises(DataError, match="same users"):
        paired_bootstrap([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="no domains"):
        mean_over_domains([])
    with pytest.raises(DataError, match="p-values"):
        holm([0.5, np.nan])
