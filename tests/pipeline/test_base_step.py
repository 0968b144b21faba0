"""Which base a retraining that was broken off goes on with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lorarec.pipeline.base_step import carried
from lorarec.pipeline.facts import CurrentBase
from lorarec.pipeline.state import BaseStep, DomainStep, Journal

SETTLED = BaseStep(due=False, reason="young", run="runs:/a", digest="old")


def base(digest: str, run: str = "runs:/a", forgotten_from: str | None = None) -> CurrentBase:
    info: Any = SimpleNamespace(digest=digest, forgotten_from=forgotten_from)
    return CurrentBase(run, info, 0)


def journal(stage: str | None = None) -> Journal:
    begun = Journal.begun(0).model_copy(update={"base": SETTLED})
    if stage is None:
        return begun
    return begun.with_domain("books", DomainStep(stage=cast(Any, stage), reason="", overdue=1.0))


@pytest.mark.parametrize("stage", [None, "due", "trained", "done"])
def test_the_same_base_is_gone_on_with(stage: str | None) -> None:
    assert carried(journal(stage), base("old")) == SETTLED


def test_a_base_in_which_ids_were_forgotten_is_the_same() -> None:
    found = carried(journal("trained"), base("new", forgotten_from="old"))
    assert found is not None
    assert found.digest == "new"
    twice = carried(journal("trained"), base("newer", forgotten_from="new"))
    assert twice is not None
    assert twice.digest == "newer"


@pytest.mark.parametrize(("stage", "goes_on"), [(None, False), ("trained", False), ("done", True)])
def test_another_base_matters_as_long_as_a_domain_needs_it(
    stage: str | None, goes_on: bool
) -> None:
    assert (carried(journal(stage), base("other", "runs:/b")) is not None) is goes_on
    assert carried(journal(stage), None) is None
