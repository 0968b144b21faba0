"""Registered models' names, for any name of a domain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.errors import ConfigError
from lorarec.tracking import Store
from lorarec.tracking.model_names import BASE_MODEL, domain_of, model_name
from lorarec.tracking.versions import registered_domains

SIGNS = st.characters(exclude_categories=["Cs"])
ODD = [
    "men's/wear:2026",
    "base",
    "%62ase",
    'a "b" `c`',
    "Zoë 用户",
    "..",
    "a\\b",
    "x%2Fy",
    "@champion",
]


def test_plain_names_stay_as_they_are() -> None:
    assert model_name("books") == "lorarec-books"
    assert model_name("home_and-garden.2") == "lorarec-home_and-garden.2"
    assert model_name("men's/wear") == "lorarec-men%27s%2Fwear"


@given(st.text(SIGNS, min_size=1, max_size=60))
def test_every_domain_comes_back_from_its_name(domain: str) -> None:
    name = model_name(domain)
    assert domain_of(name) == domain
    assert not set(name) & set("/:'\"`\\@ ")
    assert name != BASE_MODEL


@given(st.text(SIGNS, min_size=1, max_size=20), st.text(SIGNS, min_size=1, max_size=20))
def test_two_domains_never_share_a_model(one: str, other: str) -> None:
    assert (model_name(one) == model_name(other)) == (one == other)


def test_other_models_have_no_domain() -> None:
    assert domain_of(BASE_MODEL) is None
    assert domain_of("something-else") is None


@pytest.mark.parametrize("domain", ["", "x" * 300, "/" * 100])
def test_what_mlflow_has_no_room_for_is_refused(domain: str) -> None:
    with pytest.raises(ConfigError, match="256 at most"):
        model_name(domain)


def test_mlflow_takes_them_all_and_gives_them_back(store: Store) -> None:
    for domain in ODD:
        store.client.create_registered_model(model_name(domain))
    assert registered_domains(store) == sorted(ODD)
    for domain in ODD:
        found = store.client.search_registered_models(f"name='{model_name(domain)}'")
        assert [domain_of(model.name) for model in found] == [domain]
