"""A data set's vocabularies grow with every append and never move a row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import NotFoundError

ids = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=3)
days = st.lists(
    st.lists(st.tuples(ids, ids, st.sampled_from("abc")), min_size=1, max_size=8, unique=True),
    min_size=2,
    max_size=4,
    unique_by=lambda rows: tuple(rows),
)


def grown(folder: Path, days: list[list[tuple[str, str, str]]]) -> list[PreparedDataset]:
    """A data set of the first day, and as it was after each that followed."""
    found = []
    for number, rows in enumerate(days):
        path = folder / f"{number}.parquet"
        names = ["user_id", "item_id", "domain"]
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
        if number == 0:
            found.append(prepare([path], folder / "set", Options(split="none")))
        else:
            found.append(append(folder / "set", [path]).dataset)
    return found


@settings(max_examples=20, deadline=None)
@given(days)
def test_rows_are_given_by_first_appearance_and_never_move(
    tmp_path_factory: pytest.TempPathFactory, days: list[list[tuple[str, str, str]]]
) -> None:
    states = grown(tmp_path_factory.mktemp("days"), days)
    known = {table: Vocabulary() for table in ("users", "items", "domains")}
    for rows, state in zip(days, states, strict=True):
        for place, (table, before) in enumerate(known.items()):
            known[table] = before.extend([row[place] for row in rows])
            found = getattr(state, table)
            assert found == known[table]
            # Anything bound to the shorter one can prove that the longer one begins with it.
            assert found.digest(len(before)) == before.digest()
        assert open_dataset(state.folder, state.digest).users == state.users


def test_unknown_ids_are_marked_or_raised(tmp_path: Path) -> None:
    state = grown(tmp_path, [[("u", "i", "a")], [("v", "i", "a")]])[-1]
    assert state.users.rows(["v", "nobody", "u"], missing="mark").tolist() == [1, -1, 0]
    with pytest.raises(NotFoundError, match="'nobody'"):
        state.users.rows(["nobody"])
