"""Candidate lists: what is refused, and what is drawn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from lorarec.errors import DataError
from lorarec.evaluation.candidates import CandidateLists, drawn_negatives
from lorarec.evaluation.protocols import PROTOCOLS


def lists(*candidates: list[str], positive: str | None = "a") -> CandidateLists:
    users = [f"u{n}" for n in range(len(candidates))]
    return CandidateLists.of(
        pl.DataFrame(
            {"user_id": users, "positive": [positive] * len(users), "candidates": candidates},
            schema_overrides={"positive": pl.String},
        )
    )


def test_the_held_out_item_comes_first_wherever_it_stood() -> None:
    found = lists(["b", "a", "c"], ["c", "b", "a"])
    assert found.width == 3
    assert found.candidates.to_list()[::3] == ["a", "a"]
    assert sorted(found.candidates.to_list()[3:]) == ["a", "b", "c"]
    assert found.repeated_users().to_list() == ["u0"] * 3 + ["u1"] * 3


@pytest.mark.parametrize(
    ("candidates", "wrong"),
    [
        ([["a", "b"], ["a", "b", "b"]], r"1 of 2 candidate lists hold an item twice.*\['u1'\]"),
        ([["a", "b"], ["c", "b"]], r"lack the held-out item.*\['u1'\]"),
        ([["a", "b"], ["a"]], r"not as long as the first.*\['u1'\]"),
    ],
)
def test_lists_that_are_none_name_their_users(candidates: list[list[str]], wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        lists(*candidates)


def test_a_list_of_a_user_without_a_held_out_item_is_refused() -> None:
    with pytest.raises(DataError, match="lack the held-out item"):
        lists(["a", "b"], positive=None)
    with pytest.raises(DataError, match="no candidate lists"):
        lists()


def test_negatives_are_never_what_the_user_has_had() -> None:
    seen = csr_matrix(np.array([[1, 1, 0, 1], [0, 0, 0, 0]]))
    drawn = drawn_negatives(np.array([0, 1, 0]), seen, 4, 300, np.random.default_rng(0))
    assert set(drawn[0].tolist()) == set(drawn[2].tolist()) == {2}
    assert set(drawn[1].tolist()) == {0, 1, 2, 3}
    with pytest.raises(DataError, match="had all 1 items"):
        drawn_negatives(np.array([0]), csr_matrix([[1]]), 1, 2, np.random.default_rng(0))


def test_published_numbers_are_of_the_protocols_own_metrics() -> None:
    for protocol in PROTOCOLS.values():
        for table in protocol.published.values():
            for values in table.values():
                assert set(values) == set(protocol.metrics)
                assert all(0 < value < 1 for value in values.values())


def test_a_metric_among_candidates_never_has_the_name_of_one_of_full_ranking() -> None:
    for protocol in PROTOCOLS.values():
        sampled = [key.endswith("_sampled") for key in protocol.metrics]
        assert all(sampled) if protocol.lists != "none" else not any(sampled)
