from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import NotFoundError

Canonical = Callable[..., pl.DataFrame]


@pytest.fixture
def frame(canonical: Canonical) -> pl.DataFrame:
    rows = ["u i b 1", "v j a 2", "u j b 3", "u i b 4", "w k a 5"]
    return canonical(
        rows, weight=[1.0, 2.0, 0.0, 3.0, 1.0], split=["train", "train", "valid", "train", "extra"]
    )


def test_rows_are_indexed_in_order(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame)
    assert data.user.tolist() == [0, 1, 0, 0, 2]
    assert data.item.tolist() == [0, 1, 1, 0, 2]
    assert data.domains == ("a", "b")
    assert data.domain_index.tolist() == [1, 0, 1, 1, 0]
    assert data.timestamp.tolist() == [1, 2, 3, 4, 5]


def test_parts_and_domains_are_views_of_rows(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame)
    assert len(data.part("train")) == 3
    assert len(data.part("train", "extra")) == 4
    assert len(data.part("test")) == 0
    assert data.domain("a").part("train").item.tolist() == [1]


def test_the_catalogue_is_distinct_and_sorted(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame)
    assert data.catalogue("b").tolist() == [0, 1]
    assert data.catalogue().tolist() == [0, 1, 2]
    assert data.part("train").catalogue("a").tolist() == [1]


def test_csr_is_binary_or_sums_weights(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame)
    assert data.csr().toarray().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert data.csr(weighted=True).toarray().tolist() == [[4, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert data.part("test").csr().shape == (3, 3)
    assert data.csr().dtype == np.float32


def test_unknown_ids_are_dropped_and_counted(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame, Vocabulary(["v", "u"]), Vocabulary(["j"]))
    assert data.user.tolist() == [0, 1]
    assert data.dropped_unknown == 3


def test_a_missing_timestamp_is_minus_one(canonical: Canonical) -> None:
    data = Interactions.from_frame(canonical(["u i d"]))
    assert data.timestamp.tolist() == [-1]
    assert data.splits == ("train",)


def test_the_order_of_domains_can_be_given(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame, domains=["b", "c", "a"])
    assert data.domain_index.tolist() == [0, 2, 0, 0, 2]
    assert len(data.domain("c")) == 0
    with pytest.raises(NotFoundError, match="'b'"):
        Interactions.from_frame(frame, domains=["a"])


def test_unknown_names_get_the_nearest(canonical: Canonical) -> None:
    data = Interactions.from_frame(canonical(["u i books", "u i movies"]))
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        data.domain("boks")
    with pytest.raises(NotFoundError, match="no split 'cold'"):
        data.part("cold")


def test_arrays_can_be_given_to_torch(frame: pl.DataFrame) -> None:
    data = Interactions.from_frame(frame)
    assert data.user.dtype == np.int64
    assert data.item.flags.writeable
    assert data.weight.dtype == np.float32
