from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.draw import can_draw, draw_parts

Canonical = Callable[..., pl.DataFrame]
rows = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("ijklm"), st.sampled_from("ab")),
    min_size=1,
    max_size=30,
).map(lambda cells: [" ".join(cell) for cell in cells])
few = settings(max_examples=30, deadline=None)


@few
@given(rows, st.integers(0, 5))
def test_every_user_keeps_a_row(canonical: Canonical, cells: list[str], seed: int) -> None:
    frame = canonical(cells)
    part = draw_parts(frame, [0.4, 0.4], seed)
    if part is not None:
        assert set(frame.filter(part == 0)["user_id"]) == set(frame["user_id"])


@few
@given(rows, st.randoms())
def test_the_order_of_rows_does_not_matter(canonical: Canonical, cells: list[str], random) -> None:
    frame = canonical(cells)
    order = list(range(len(cells)))
    random.shuffle(order)
    a, b = draw_parts(frame, [0.3], 7), draw_parts(frame[order], [0.3], 7)
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert np.array_equal(a[order], b)


@few
@given(rows)
def test_a_pair_lies_in_one_part(canonical: Canonical, cells: list[str]) -> None:
    frame = canonical(cells)
    part = draw_parts(frame, [0.5], 0)
    if part is not None:
        keyed = frame.with_columns(part=part).group_by("user_id", "item_id", "domain")
        assert keyed.agg(pl.col("part").n_unique())["part"].max() == 1


def test_shares_are_met(canonical: Canonical) -> None:
    frame = canonical([f"u{i % 10} i{i} d" for i in range(100)])
    part = draw_parts(frame, [0.1, 0.2], 0)
    assert part is not None
    assert np.bincount(part).tolist() == [70, 10, 20]


def test_another_seed_draws_others(canonical: Canonical) -> None:
    frame = canonical([f"u{i % 10} i{i} d" for i in range(100)])
    assert not np.array_equal(draw_parts(frame, [0.1], 0), draw_parts(frame, [0.1], 1))


def test_single_pairs_cannot_be_held_out(canonical: Canonical) -> None:
    frame = canonical(["u i d", "v j d", "u i d"])
    assert not can_draw(frame)
    assert draw_parts(frame, [0.1], 0) is None
    assert can_draw(canonical(["u i d", "u i e"]))
