"""Errors carry their exit code and help a typing mistake along."""

from __future__ import annotations

import pytest

from lorarec import errors
from lorarec.errors import LorarecError, did_you_mean, nearest


def test_every_error_is_a_lorarec_error_and_exits_with_2() -> None:
    kinds = [kind for name, kind in vars(errors).items() if name.endswith("Error")]
    assert len(kinds) >= 8
    assert all(issubclass(kind, LorarecError) and kind.exit_code == 2 for kind in kinds)


def test_nearest_names_come_best_first() -> None:
    assert nearest("boks", ["movies", "books", "music"])[0] == "books"


def test_nearest_ignores_case_and_returns_the_real_name() -> None:
    assert nearest("BOOKS", ["Books"]) == ["Books"]


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest("zzzz", ["books", "movies"]) == []


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("boks", ["books", "movies"], " Did you mean 'books'?"),
        ("zzzz", ["movies", "books"], " There are: books, movies."),
        ("zzzz", [], ""),
    ],
)
def test_did_you_mean(name: str, names: list[str], said: str) -> None:
    assert did_you_mean(name, names) == said


def test_a_long_list_is_cut() -> None:
    said = did_you_mean("zzzz", [f"d{number}" for number in range(30)])
    assert said.endswith(", ....")
    assert said.count(",") == 10
