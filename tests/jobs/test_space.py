"""What a search varies, and what it proposes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lorarec.config import Settings
from lorarec.errors import ConfigError
from lorarec.jobs.space import Space, Values, proposed


def space_of(**options: object) -> Space:
    """The space of the defaults with some settings otherwise; `train__loss` is `train.loss`."""
    return Space.of(Settings().with_options({k.replace("__", "."): v for k, v in options.items()}))


FINITE = {"tune__learning_rate": [], "tune__temperature": [], "tune__weight_decays": []}


def score(values: Values) -> float:
    """Highest at a learning rate of 0.01 and the dimension 64."""
    return -abs(math.log(values["train.learning_rate"] / 0.01)) - values["model.dim"] / 640


def searched(space: Space, trials: int, seed: int = 0) -> list[tuple[Values, float | None]]:
    """A search whose trainings take no time."""
    found: list[tuple[Values, float | None]] = []
    while len(found) < trials and (values := proposed(space, found, seed)) is not None:
        found.append((values, score(values)))
    return found


def test_the_first_trial_is_the_settings_as_they_are() -> None:
    settings = Settings()
    assert proposed(Space.of(settings), [], seed=0) == {
        "train.learning_rate": settings.train.learning_rate,
        "model.temperature": settings.model.temperature,
        "model.dim": settings.model.dim,
        "train.weight_decay": settings.train.weight_decay,
    }


def test_a_space_is_widened_to_hold_the_settings() -> None:
    space = space_of(train__learning_rate=0.9, model__dim=48, train__weight_decay=0.5)
    assert space.ranges["train.learning_rate"] == (0.003, 0.9)
    assert space.choices["model.dim"] == (48, 64, 128, 256)
    assert max(space.choices["train.weight_decay"]) == 0.5


def test_what_is_emptied_stays_as_it_is() -> None:
    assert set(space_of(**FINITE).start) == {"model.dim"}


def test_an_empty_space_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match=r"tune\.dims=64,128"):
        space_of(**FINITE, tune__dims=[128])


@pytest.mark.parametrize(
    "options",
    [
        {"model__similarity": "dot"},
        {"train__learn_temperature": True},
        {"train__loss": "ccl"},
    ],
)
def test_a_temperature_that_is_not_fixed_or_not_used_is_not_searched(
    options: dict[str, object],
) -> None:
    assert "model.temperature" in space_of().start
    assert "model.temperature" not in space_of(**options).start


def test_the_margin_and_its_weight_are_searched_with_the_loss_that_has_them() -> None:
    ccl = {"train.margin", "train.negative_weight"}
    assert not ccl & set(space_of().start)
    assert ccl <= set(space_of(train__loss="ccl").start)


@given(
    trials=st.integers(1, 14),
    seed=st.integers(0, 2**32 - 1),
    lost=st.sets(st.integers(0, 13)),
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_proposals_stay_in_the_space_whatever_diverged(
    trials: int, seed: int, lost: set[int]
) -> None:
    space, before = space_of(), []
    for number in range(trials):
        values = proposed(space, before, seed)
        assert values is not None
        assert list(values) == list(space.start)
        for key, (low, high) in space.ranges.items():
            assert low <= values[key] <= high
        for key, choices in space.choices.items():
            assert values[key] in choices
        before.append((values, None if number in lost else score(values)))


def test_the_same_seed_and_past_give_the_same_proposal_and_others_do_not() -> None:
    space = space_of()
    first = searched(space, 15)
    assert searched(space, 15) == first
    assert proposed(space, first[:12], seed=0) == first[12][0]
    assert searched(space, 15, seed=1)[1:] != first[1:]


def test_proposals_come_nearer_to_what_scores_well() -> None:
    found = [value for _, value in searched(space_of(), 40) if value is not None]
    assert sum(found[-10:]) / 10 > sum(found[1:11]) / 10
    assert max(found) > found[0]


def test_what_diverged_is_kept_away_from() -> None:
    """The larger the step the better, and above 0.02 nothing trains: a search that forgot what
    diverged would end beyond the cliff nearly every time."""
    space = space_of(
        tune__dims=[], tune__temperature=[], tune__weight_decays=[], train__learning_rate=0.01
    )
    lost = 0
    for seed in range(3):
        before: list[tuple[Values, float | None]] = []
        for _ in range(40):
            values = proposed(space, before, seed)
            assert values is not None
            rate = values["train.learning_rate"]
            before.append((values, None if rate > 0.02 else rate))
        lost += [value for _, value in before[20:]].count(None)
    assert lost < 40


def test_a_drawn_value_is_short_enough_to_be_typed() -> None:
    for values, _ in searched(space_of(), 12)[1:]:
        for key in ("train.learning_rate", "model.temperature"):
            assert values[key] == float(f"{values[key]:.3g}")


def test_a_small_space_is_tried_once_each_and_then_ends() -> None:
    space = space_of(tune__learning_rate=[], tune__temperature=[], tune__dims=[64, 128])
    found: list[tuple[Values, float | None]] = []
    while (values := proposed(space, found, seed=0)) is not None:
        found.append((values, values["model.dim"]))
    tried = [tuple(values.values()) for values, _ in found]
    assert len(tried) == len(set(tried)) == space.size == 10


def test_the_defaults_of_the_section_hold_the_defaults_of_training() -> None:
    space, tune = space_of(train__loss="ccl"), Settings().tune
    assert space.choices["model.dim"] == tune.dims
    assert space.choices["train.margin"] == tune.margins
    assert space.choices["train.negative_weight"] == tune.negative_weights
    assert space.ranges["train.learning_rate"] == tune.learning_rate
