from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.data.made.calendar import log_mass, make_first_days, moments


@pytest.mark.parametrize("trend", [-3.0, 0.0, 1e-8, 2.0])
@pytest.mark.parametrize("begin", [0.0, 0.4])
def test_the_mass_is_the_integral(trend: float, begin: float) -> None:
    grid = begin + (1 - begin) * (np.arange(10_000) + 0.5) / 10_000
    integral = np.exp(trend * grid).mean() * (1 - begin)
    found = log_mass(np.array([trend]), np.array([begin]))
    assert np.exp(found)[0] == pytest.approx(integral, rel=1e-6)


@given(st.floats(-20, 20), st.floats(0, 0.999), st.floats(0, 1, exclude_max=True))
def test_a_moment_lies_between_its_beginning_and_the_end(
    trend: float, begin: float, uniform: float
) -> None:
    (moment,) = moments(np.array([trend]), np.array([begin]), np.array([uniform]))
    assert begin <= moment < 1


@pytest.mark.parametrize("trend", [-3.0, 0.0, 2.0])
def test_moments_have_the_density(trend: float) -> None:
    uniform = (np.arange(10_000) + 0.5) / 10_000
    found = moments(np.full(10_000, trend), np.full(10_000, 0.25), uniform)
    grid = 0.25 + 0.75 * uniform
    density = np.exp(trend * grid)
    for cut in (0.4, 0.7, 0.9):
        expected = density[grid < cut].sum() / density.sum()
        assert (found < cut).mean() == pytest.approx(expected, abs=1e-3)


def test_users_and_items_have_days_of_their_own() -> None:
    users, items = (make_first_days(0, name, 100, 30) for name in ("users", "items"))
    assert not np.array_equal(users, items)
