"""`adapt.rank` as files, variables and options write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorarec.config import Settings, load_settings
from lorarec.config.writing import toml_text
from lorarec.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "meant", "flat"),
    [
        ("8", 8, 8),
        ("auto", "auto", "auto"),
        ("AUTO", "auto", "auto"),
        ("2,4,8", (2, 4, 8), "2,4,8"),
        ("16, 4", (4, 16), "4,16"),
        ("[2, 4]", (2, 4), "2,4"),
        ("[4]", 4, 4),
    ],
)
def test_all_ways_to_write_it(
    bare_project: Path, written: str, meant: object, flat: object
) -> None:
    found = load_settings(environ={"LORAREC_ADAPT__RANK": written})
    assert found.adapt.rank == meant
    assert found.flat()["adapt.rank"] == flat
    assert load_settings(overrides=[f"adapt.rank={written}"]).adapt.rank == meant


@pytest.mark.parametrize("rank", [3, "auto", (2, 8)])
def test_a_file_says_it_and_is_written_again(bare_project: Path, rank: object) -> None:
    settings = Settings().with_options({"adapt.rank": rank})
    Path("lorarec.toml").write_text(toml_text(settings, ("adapt",)))
    assert load_settings().adapt.rank == rank


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0", "ranks from 1 to 4096"),
        ("-4", "ranks from 1 to 4096"),
        ("2,0", "ranks from 1 to 4096"),
        ("9999", "ranks from 1 to 4096"),
        ("big", "a whole number, several such as 2,4,8, or auto"),
        ("2,auto", "a whole number, several such as 2,4,8, or auto"),
        ("1.5", "a whole number, several such as 2,4,8, or auto"),
        ("true", "a whole number, several such as 2,4,8, or auto"),
        ("2,", "a whole number, several such as 2,4,8, or auto"),
        ("[]", "a whole number, several such as 2,4,8, or auto"),
        ("4,2,4", "each rank once"),
    ],
)
def test_what_it_cannot_be_is_refused(bare_project: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"adapt\.rank") as refused:
        load_settings(overrides=[f"adapt.rank={written}"])
    assert said in str(refused.value)


@pytest.mark.parametrize(("rank", "one"), [(4, 4), ((2, 16, 4), 16), ("auto", 8)])
def test_one_number_where_a_command_needs_one(rank: object, one: int) -> None:
    assert Settings().with_options({"adapt.rank": rank}).adapt.single_rank == one
