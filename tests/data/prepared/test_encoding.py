from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.prepared.encoding import IdEncoder
from lorarec.data.vocabulary import Vocabulary

ids = st.lists(st.text(max_size=6), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(ids, max_size=5), ids)
def test_rows_are_those_of_a_vocabulary_extended_batch_by_batch(
    batches: list[list[str]], known: list[str]
) -> None:
    vocabulary = Vocabulary().extend(known)
    encoder = IdEncoder(vocabulary.series)
    for batch in batches:
        vocabulary = vocabulary.extend(batch)
        rows = encoder.encode(pl.Series(batch, dtype=pl.String))
        assert rows.tolist() == vocabulary.rows(batch).tolist()
    assert encoder.ids().to_list() == vocabulary.series.to_list()
    assert len(encoder) == len(vocabulary)


def test_ids_beyond_the_first_table_of_codes_get_rows() -> None:
    encoder = IdEncoder()
    names = pl.Series(range(5000)).cast(pl.String)
    assert encoder.encode(names).tolist() == list(range(5000))
    assert encoder.encode(names.reverse()).tolist() == list(range(5000))[::-1]


def test_two_encoders_do_not_share_their_ids() -> None:
    first, second = IdEncoder(), IdEncoder()
    first.encode(pl.Series(["a", "b"]))
    assert second.encode(pl.Series(["b"])).tolist() == [0]
