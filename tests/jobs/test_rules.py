"""What the files of business rules make of a catalogue."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from world import Words

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError, DataError, NotFoundError
from lorarec.jobs.listener import SILENT
from lorarec.jobs.rules import Resolved, Rules, resolve

CATALOGUE = Vocabulary([f"i{number}" for number in range(6)])
KNOWN = Vocabulary(["i9", "i8", "i0"])
"""i8 and i9 are sold elsewhere."""


def resolved(rules: Rules, words: Words | None = None) -> Resolved:
    return resolve(rules, CATALOGUE, KNOWN, "books", words.listener if words else SILENT)


def written(folder: Path, text: str, name: str = "ids.txt") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def allowed(rules: Rules) -> list[int] | None:
    found = resolved(rules).allowed
    return None if found is None else found.tolist()


def test_without_rules_the_whole_catalogue_is_allowed() -> None:
    found = resolved(Rules())
    assert (found.allowed, found.categories) == (None, None)


def test_lists_are_taken_together(tmp_path: Path) -> None:
    allow = written(tmp_path, "i1\ni3\ni3\ni5\n", "allow.txt")
    block = written(tmp_path, "item_id,why\ni3,gone\n", "block.csv")
    assert allowed(Rules(allow=allow, block=block)) == [1, 5]
    assert allowed(Rules(block=block)) == [0, 1, 2, 4, 5]


def test_items_sold_elsewhere_are_counted_and_no_error(tmp_path: Path) -> None:
    words = Words()
    found = resolved(Rules(allow=written(tmp_path, "i1\ni8\n")), words)
    assert found.allowed is not None
    assert found.allowed.tolist() == [1]
    assert "1 of 2 items are known and not in the catalogue" in words


def test_unknown_ids_are_refused_with_count_and_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "i1\ni11\nnothing\n")
    with pytest.raises(NotFoundError, match=r"2 of 3 ids are unknown.*'i11', 'nothing'.*mean 'i1'"):
        resolved(Rules(allow=path))
    with pytest.raises(NotFoundError, match="ids are unknown"):
        resolved(Rules(block=path))


def test_rules_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No item of books is left"):
        resolved(Rules(allow=written(tmp_path, "i9\n")))
    with pytest.raises(DataError, match="No item of books is left"):
        resolved(Rules(allow=written(tmp_path, "")))


def test_an_empty_id_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 empty ids, in rows \[1\]"):
        resolved(Rules(allow=written(tmp_path, "i1\n\ni2\n")))


@pytest.mark.parametrize(
    ("column", "least", "expected"),
    [("stock", 1, [0, 2]), ("stock", 5, [2]), ("flag", 1, [0, 3]), ("half", 0.5, [1])],
)
def test_stock_is_a_number_or_a_flag_and_unknown_is_none(
    tmp_path: Path, column: str, least: float, expected: list[int]
) -> None:
    table = pl.DataFrame(
        {
            "item_id": ["i0", "i1", "i2", "i3", "elsewhere"],
            "stock": [1, 0, 7, None, 9],
            "flag": [True, False, False, True, True],
            "half": [0.25, 0.5, None, 0.0, 1.0],
        }
    )
    table.write_parquet(tmp_path / "items.parquet")
    table.write_csv(tmp_path / "items.csv")
    for name in ("items.parquet", "items.csv"):
        rules = Rules(items=tmp_path / name, min_stock=(column, least))
        assert allowed(rules) == expected


def test_categories_are_numbered_and_null_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, "item_id,brand\ni0,b\ni1,a\ni2,b\ni4,\n", "items.csv")
    found = resolved(Rules(items=path, max_per=("brand", 2)))
    assert found.categories is not None
    assert (found.categories.tolist(), found.most) == ([1, 0, 1, -1, -1, -1], 2)


def test_a_column_needs_a_table_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--items FILE"):
        resolved(Rules(max_per=("brand", 2)))
    path = written(tmp_path, "item_id,brand\ni0,b\n", "items.csv")
    with pytest.raises(DataError, match=r"lacks the column 'brnd'. Did you mean 'brand'"):
        resolved(Rules(items=path, max_per=("brnd", 2)))
    with pytest.raises(DataError, match="is no number"):
        resolved(Rules(items=path, min_stock=("brand", 1)))
    with pytest.raises(ConfigError, match="allows nothing"):
        resolved(Rules(items=path, max_per=("brand", 0)))


def test_a_table_names_each_item_once(tmp_path: Path) -> None:
    path = written(tmp_path, "item_id,brand\ni0,b\ni0,c\n", "items.csv")
    with pytest.raises(DataError, match=r"1 items twice: \['i0'\]"):
        resolved(Rules(items=path, max_per=("brand", 2)))
