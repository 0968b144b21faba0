"""What is due, and why: the thresholds, their order, and clocks that jump."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.config.pipeline import Pipeline
from lorarec.pipeline.due import DAY, MISSING, BaseFacts, DomainFacts, base_due, domain_due

NOW = 1_800_000_000
POLICY = Pipeline(base_max_age_days=7, min_new_rows=100)
FRESH = BaseFacts(trained_at=NOW - DAY, new_rows=50)
KNOWN = DomainFacts(rows=1000, new_rows=50, trained_at=NOW - DAY, on_base=True)


def test_without_a_base_one_is_due() -> None:
    assert base_due(POLICY, None, NOW).due


@pytest.mark.parametrize(("days", "due"), [(6.9, False), (7.0, True), (30.0, True)])
def test_a_base_is_due_by_age(days: float, due: bool) -> None:
    found = base_due(POLICY, replace(FRESH, trained_at=NOW - int(days * DAY)), NOW)
    assert found.due is due
    assert f"{days:.1f} days old" in found.reason


def test_an_old_base_without_new_rows_is_not_due() -> None:
    assert not base_due(POLICY, BaseFacts(NOW - 90 * DAY, new_rows=0), NOW).due


@pytest.mark.parametrize(("drift", "due"), [(0.05, False), (0.2, True), (None, False)])
def test_a_base_is_due_by_drift(drift: float | None, due: bool) -> None:
    policy = POLICY.model_copy(update={"base_drift": 0.1})
    assert base_due(policy, replace(FRESH, drift=drift), NOW).due is due


def test_a_base_that_is_asked_for_is_due() -> None:
    assert base_due(POLICY, FRESH, NOW, forced=True).reason == "asked for"


@pytest.mark.parametrize(("rows", "due"), [(99, False), (100, True)])
def test_a_domain_is_due_by_new_rows(rows: int, due: bool) -> None:
    assert domain_due(POLICY, replace(KNOWN, new_rows=rows), NOW, 100).due is due


def test_an_adapter_that_never_came_through_the_gate_is_due_without_new_rows() -> None:
    left = replace(KNOWN, new_rows=0, gated=False)
    assert domain_due(POLICY, left, NOW, 1).reason == "trained, not yet decided"
    assert not domain_due(POLICY, replace(left, decidable=False), NOW, 1).due


def test_a_domain_without_an_adapter_waits_for_enough_rows() -> None:
    young = DomainFacts(rows=40, new_rows=40, trained_at=None, on_base=False)
    assert "below min_domain_rows" in domain_due(POLICY, young, NOW, 100).reason
    assert domain_due(POLICY, replace(young, rows=400), NOW, 100).overdue > MISSING


def test_a_changed_base_makes_a_domain_due_without_new_rows() -> None:
    assert domain_due(POLICY, replace(KNOWN, on_base=False, new_rows=0), NOW, 1).due


def test_a_domain_that_disappeared_is_not_due_however_old() -> None:
    policy = POLICY.model_copy(update={"max_age_days": 1.0})
    gone = replace(KNOWN, new_rows=0, trained_at=NOW - 100 * DAY)
    assert domain_due(policy, gone, NOW, 1).reason == "no new rows"


def test_the_most_overdue_reason_counts_and_all_are_told() -> None:
    policy = POLICY.model_copy(update={"max_age_days": 1.0, "drift": 0.1})
    old = replace(KNOWN, new_rows=200, trained_at=NOW - 5 * DAY, drift=0.3)
    found = domain_due(policy, old, NOW, 1)
    assert found.overdue == pytest.approx(5)
    assert all(word in found.reason for word in ("5.0 days old", "drift 0.300", "200 new rows"))


@given(ahead=st.integers(2 * 3600, 10**9))
def test_a_clock_that_went_back_makes_due_once_and_never_for_ever(ahead: int) -> None:
    policy = POLICY.model_copy(update={"max_age_days": 30.0})
    later = replace(KNOWN, trained_at=NOW + ahead)
    assert "a clock went back" in domain_due(policy, later, NOW, 1).reason
    assert "a clock went back" in base_due(policy, BaseFacts(NOW + ahead, 1), NOW).reason
    dated_anew = replace(KNOWN, trained_at=NOW, new_rows=1)
    assert not domain_due(policy, dated_anew, NOW + 60, 1).due
    assert domain_due(policy, dated_anew, NOW + 31 * DAY, 1).due


@given(skew=st.integers(-3600, 3600))
def test_clocks_may_differ_a_little(skew: int) -> None:
    assert not domain_due(POLICY, replace(KNOWN, trained_at=NOW + skew), NOW, 1).due


def test_a_domain_without_a_row_to_decide_on_is_not_trained() -> None:
    silent = replace(KNOWN, new_rows=500, decidable=False)
    assert "for the gate to decide on" in domain_due(POLICY, silent, NOW, 1).reason
    assert not domain_due(POLICY, replace(silent, on_base=False), NOW, 1).due
    assert not domain_due(POLICY, replace(silent, trained_at=None), NOW, 1).due


def test_of_domains_whose_base_changed_the_one_with_more_new_rows_comes_first() -> None:
    few, many = (replace(KNOWN, on_base=False, new_rows=rows) for rows in (10, 500))
    overdue = [domain_due(POLICY, facts, NOW, 1).overdue for facts in (few, many)]
    assert overdue[0] < overdue[1] < MISSING
