from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl

from lorarec.data.describe import describe

Canonical = Callable[..., pl.DataFrame]
ROWS = ["u i a 0", "u j a 86400", "v i a 5", "u i a 9", "u i b 1", "w k b 2"]


def test_counts_of_a_domain(canonical: Canonical) -> None:
    first = describe(canonical(ROWS)).domains[0]
    assert (first.domain, first.rows, first.users, first.items, first.repeated) == ("a", 4, 2, 2, 1)
    assert first.density == 3 / 4
    assert (first.first, first.last) == ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z")


def test_overlaps_have_their_own_counts_on_the_diagonal(canonical: Canonical) -> None:
    description = describe(canonical(ROWS))
    assert description.names() == ["a", "b"]
    assert description.user_overlap == ((2, 1), (1, 2))
    assert description.item_overlap == ((2, 1), (1, 2))


def test_the_total_counts_a_pair_of_two_domains_once(canonical: Canonical) -> None:
    total = describe(canonical(ROWS)).total
    assert (total.rows, total.users, total.items, total.repeated) == (6, 3, 3, 1)
    assert total.density == 4 / 9


def test_no_timestamps_no_range(canonical: Canonical) -> None:
    assert describe(canonical(["u i a"])).total.first is None


def test_it_is_json(canonical: Canonical) -> None:
    found = json.loads(json.dumps(describe(canonical(ROWS)).to_dict()))
    assert found["user_overlap"]["a"]["b"] == 1
    assert found["domains"][1]["domain"] == "b"
