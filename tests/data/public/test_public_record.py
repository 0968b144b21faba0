from __future__ import annotations

import re

import pytest

from lorarec.data.public.catalogue import SOURCES, find_source
from lorarec.data.public.convert import LAYOUTS
from lorarec.data.public.record import Chosen, Source
from lorarec.errors import ConfigError, NotFoundError

EVERY = pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))


def everything(source: Source) -> Chosen:
    return {choice.option: choice.values for choice in source.choices}


@EVERY
def test_a_source_says_what_a_person_must_know(source: Source) -> None:
    assert all([source.title, source.size, source.domain, source.licence, source.citation])
    assert source.page.startswith("https://")
    assert source.layout in LAYOUTS


@EVERY
def test_every_file_is_of_a_kind_that_its_converter_reads(source: Source) -> None:
    for file in source.files(everything(source)):
        archive = file.name.endswith((".zip", ".tar.gz"))
        assert archive or LAYOUTS[source.layout].role(file.name.removesuffix(".gz")), file.name
        assert file.url.startswith("https://")
        assert not set("{}") & set(file.url + file.name)


@EVERY
def test_checksums_are_of_files_that_there_are(source: Source) -> None:
    names = {file.name for file in source.files(everything(source))}
    assert set(source.checksums) <= names
    assert all(re.fullmatch("md5:[0-9a-f]{32}", value) for value in source.checksums.values())


def test_a_name_is_found_in_any_case() -> None:
    assert find_source("MovieLens-1M").name == "movielens-1m"


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'xmarket'.*lorarec data get --list"):
        find_source("xmarkt")


def test_what_is_chosen_is_in_the_spelling_of_the_source() -> None:
    chosen = find_source("xmarket").choose({"market": ["DE", "fr", "de"], "category": ["books"]})
    assert chosen == {"market": ("de", "fr"), "category": ("Books",)}


def test_there_is_a_default_for_what_is_not_said() -> None:
    assert find_source("kuairand").choose({"variant": ()}) == {"variant": ("Pure",)}


def test_an_import_selects_nothing_by_default_but_knows_its_domains() -> None:
    assert find_source("xmarket").choose({}, importing=True) == {}
    assert find_source("movielens-1m").choose({}, importing=True) == {"domain_by": ("zip",)}


def test_all_stands_for_every_value() -> None:
    assert len(find_source("xmarket").choose({"market": ["all"]})["market"]) == 18


def test_files_are_the_product_of_what_is_chosen() -> None:
    source = find_source("xmarket")
    chosen = source.choose({"market": ["de", "jp"], "category": ["Books", "Automotive"]})
    assert [file.name for file in source.files(chosen)] == [
        "ratings_de_Books.txt.gz",
        "ratings_de_Automotive.txt.gz",
        "ratings_jp_Books.txt.gz",
        "ratings_jp_Automotive.txt.gz",
    ]


def test_an_unknown_value_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no category 'Book'\. Did you mean 'Books'"):
        find_source("amazon-2023").choose({"category": ["Book"]})


def test_an_option_that_a_source_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"movielens-25m takes no --market: it takes no such"):
        find_source("movielens-25m").choose({"market": ["de"]})


def test_one_value_is_one_value() -> None:
    with pytest.raises(ConfigError, match=r"takes one --variant, not 2"):
        find_source("amazon-2023").choose({"variant": ["5core", "0core"]})
