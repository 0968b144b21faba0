from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lorarec.data.interactions import Interactions
from lorarec.errors import TrainingError
from lorarec.training.examples import examples_of

Indexed = Callable[..., Interactions]
ROWS = ["0 3 d train", "1 1 d train", "0 3 d train", "2 0 e train"]


def test_examples_are_a_domain_s_rows_in_their_order(indexed: Indexed) -> None:
    (found,) = examples_of(indexed(ROWS, 3, 5, ("d", "e")), ["d"])
    assert found.name == "d"
    assert found.users.tolist() == [0, 1, 0]
    assert found.items.tolist() == [3, 1, 3]
    assert found.users.dtype == found.items.dtype == torch.int64
    assert len(found) == 3


def test_domains_come_in_the_order_asked(indexed: Indexed) -> None:
    logs = indexed(ROWS, 3, 5, ("d", "e"))
    assert [e.name for e in examples_of(logs, ["e", "d"])] == ["e", "d"]


def test_negatives_are_of_the_domain_s_own_catalogue(indexed: Indexed) -> None:
    (found,) = examples_of(indexed(ROWS, 3, 5, ("d", "e")), ["d"])
    assert found.sampler.items.tolist() == [1, 3]
    assert found.sampler.counts.tolist() == [1, 2]


def test_the_power_reaches_the_sampler(indexed: Indexed) -> None:
    (found,) = examples_of(indexed(ROWS, 3, 5, ("d", "e")), ["d"], power=0.0)
    assert found.sampler.log_probability.exp().tolist() == pytest.approx([0.5, 0.5])


def test_weights_of_one_are_not_kept(indexed: Indexed) -> None:
    assert examples_of(indexed(ROWS, 3, 5, ("d", "e")), ["d"])[0].weights is None


def test_other_weights_are_kept_by_row(indexed: Indexed) -> None:
    (found,) = examples_of(indexed(["0 0 d train 2", "1 1 d train 0"], 2, 2), ["d"])
    assert found.weights is not None
    assert found.weights.tolist() == [2.0, 0.0]


def test_a_domain_without_rows_is_refused_by_name(indexed: Indexed) -> None:
    with pytest.raises(TrainingError, match="'e' has no training row"):
        examples_of(indexed(["0 0 d train"], 1, 1, ("d", "e")), ["e"])


def test_a_domain_whose_rows_all_weigh_zero_is_refused(indexed: Indexed) -> None:
    with pytest.raises(TrainingError, match=r"All 2 training rows .* weigh 0"):
        examples_of(indexed(["0 0 d train 0", "0 1 d train 0"], 1, 2), ["d"])
