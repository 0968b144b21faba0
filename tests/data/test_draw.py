from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.draw import NUMBERS, Pairs, Tally, can_draw, draw_cuts, draw_parts

Canonical = Callable[..., pl.DataFrame]
rows = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("ijklm"), st.sampled_from("ab")),
    min_size=1,
    max_size=30,
).map(lambda cells: [" ".join(cell) for cell in cells])
few = settings(max_examples=30, deadline=None)
HALF = [NUMBERS // 2, NUMBERS * 3 // 4]
HUNDRED = [f"u{i % 10} i{i} d" for i in range(100)]


@few
@given(rows, st.integers(0, 5))
def test_every_user_keeps_a_row_in_each_domain(
    canonical: Canonical, cells: list[str], seed: int
) -> None:
    frame = canonical(cells)
    train = frame.filter(draw_parts(frame, [0, 0], seed) == 0)
    groups = ["user_id", "domain"]
    assert set(train.select(groups).iter_rows()) == set(frame.select(groups).iter_rows())


@few
@given(rows, st.randoms())
def test_the_order_of_rows_decides_on_first_pairs_alone(
    canonical: Canonical, cells: list[str], random
) -> None:
    frame = canonical(cells)
    order = list(range(len(cells)))
    random.shuffle(order)
    a, b = draw_parts(frame, HALF, 7)[order], draw_parts(frame[order], HALF, 7)
    first = Pairs.of_frame(frame, 7).first()[order] | Pairs.of_frame(frame[order], 7).first()
    assert np.array_equal(a[~first], b[~first])


@few
@given(rows, rows)
def test_rows_that_come_later_move_no_row(
    canonical: Canonical, old: list[str], new: list[str]
) -> None:
    whole = draw_parts(canonical(old + new), HALF, 3)
    assert np.array_equal(whole[: len(old)], draw_parts(canonical(old), HALF, 3))


@few
@given(rows)
def test_a_domain_alone_is_drawn_as_among_all(canonical: Canonical, cells: list[str]) -> None:
    frame = canonical(cells)
    books = frame["domain"] == "a"
    alone = frame.filter(books)
    if alone.height:
        among = draw_parts(frame, HALF, 0)[books.to_numpy()]
        assert np.array_equal(draw_parts(alone, HALF, 0), among)


@few
@given(rows)
def test_a_pair_lies_in_one_part(canonical: Canonical, cells: list[str]) -> None:
    frame = canonical(cells)
    keyed = frame.with_columns(part=draw_parts(frame, HALF, 0))
    grouped = keyed.group_by("user_id", "item_id", "domain")
    assert grouped.agg(pl.col("part").n_unique())["part"].max() == 1


@few
@given(rows, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_pieces_are_cut_where_the_whole_is(
    canonical: Canonical, cells: list[str], valid: float, test: float
) -> None:
    frame = canonical(cells)
    tally = Tally()
    for piece in frame.partition_by("user_id", "domain"):
        tally.add(Pairs.of_frame(piece, 4))
    assert tally.cuts([valid, test]) == draw_cuts(frame, [valid, test], 4)


def test_shares_are_met(canonical: Canonical) -> None:
    frame = canonical(HUNDRED)
    cuts = draw_cuts(frame, [0.1, 0.2], 0)
    assert cuts is not None
    assert np.bincount(draw_parts(frame, cuts, 0)).tolist() == [70, 10, 20]


def test_no_share_no_part(canonical: Canonical) -> None:
    frame = canonical(HUNDRED)
    for shares, codes in (([0.0, 0.2], {0, 2}), ([0.2, 0.0], {0, 1})):
        cuts = draw_cuts(frame, shares, 0)
        assert cuts is not None
        assert set(draw_parts(frame, cuts, 0).tolist()) == codes


def test_another_seed_draws_others(canonical: Canonical) -> None:
    frame = canonical(HUNDRED)
    assert not np.array_equal(draw_parts(frame, HALF, 0), draw_parts(frame, HALF, 1))


def test_a_draw_is_what_it_was_when_released(canonical: Canonical) -> None:
    drawn = Pairs.of_frame(canonical(["u i d", "ü i d", "u j d", "u i e"]), 0).number
    assert drawn.tolist() == [182537, 595892, 670617, 545281]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_numbers_are_spread_evenly(canonical: Canonical, seed: int) -> None:
    frame = canonical([f"u{i % 50} i{i // 50} d" for i in range(20_000)])
    counts = np.histogram(Pairs.of_frame(frame, seed).number, bins=20, range=(0, NUMBERS))[0]
    # Each of 20 bins expects 1,000; five standard deviations.
    assert np.abs(counts - 1000).max() < 160


def test_single_pairs_cannot_be_held_out(canonical: Canonical) -> None:
    frame = canonical(["u i d", "v j d", "u i d", "u j e"])
    assert not can_draw(frame)
    assert draw_cuts(frame, [0.1], 0) is None
    assert can_draw(canonical(["u i d", "u j d"]))
