"""What a search for a base's settings may vary, and what it tries next."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lorarec.config import Settings
from lorarec.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Values = dict[str, float | int]
"""Dotted key of a setting → its value."""
DIGITS = 3
"""Significant digits of a value drawn from a range, so that what is printed is what was trained."""


@dataclass(frozen=True)
class Space:
    """The settings that vary, and what they are at first.

    Attributes:
        start: The settings as they are.
        ranges: Key → lowest and highest value, searched by the logarithm.
        choices: Key → values, rising; neighbours are taken to be alike.
    """

    start: Values
    ranges: Mapping[str, tuple[float, float]]
    choices: Mapping[str, tuple[float | int, ...]]

    @classmethod
    def of(cls, settings: Settings) -> Space:
        """What `[tune]` names and matters to the loss, widened to hold the settings themselves.

        Raises:
            ConfigError: Nothing is left to vary.
        """
        tune, loss = settings.tune, settings.train.loss
        now = settings.flat()
        fixed_tau = (
            settings.model.similarity == "cosine"
            and loss != "ccl"
            and not settings.train.learn_temperature
        )
        ranges = {
            "train.learning_rate": tune.learning_rate,
            "model.temperature": tune.temperature if fixed_tau else (),
        }
        choices: dict[str, Sequence[float | int]] = {
            "model.dim": tune.dims,
            "train.weight_decay": tune.weight_decays,
            "train.margin": tune.margins if loss == "ccl" else (),
            "train.negative_weight": tune.negative_weights if loss == "ccl" else (),
        }
        start: Values = {}
        for key in (*ranges, *choices):
            value = now[key]
            assert isinstance(value, float | int)
            start[key] = value
        wide = {
            key: (min(*found, start[key]), max(*found, start[key]))
            for key, found in ranges.items()
            if found
        }
        listed = {
            key: tuple(sorted({*found, start[key]})) for key, found in choices.items() if found
        }
        listed = {key: found for key, found in listed.items() if len(found) > 1}
        if not wide and not listed:
            raise ConfigError(
                "There is nothing to search: [tune] leaves every setting as it is. Expected a "
                "range or some values, such as --set tune.learning_rate=0.003,0.3 or "
                "--set tune.dims=64,128"
            )
        return cls({key: start[key] for key in (*wide, *listed)}, wide, listed)

    @property
    def size(self) -> int | None:
        """How many trials there can be; None where a range makes them countless."""
        return None if self.ranges else math.prod(map(len, self.choices.values()))

    def combinations(self) -> list[Values]:
        """All that the choices allow; for a space without ranges."""
        return [
            dict(zip(self.choices, found, strict=True))
            for found in itertools.product(*self.choices.values())
        ]


def proposed(
    space: Space, before: Sequence[tuple[Values, float | None]], seed: int
) -> Values | None:
    """What to try next: the settings as they are first, then what Optuna's TPE draws.

    It depends on what came before and the seed alone, for the sampler is seeded anew each time and
    told all of it: a search that was broken off goes on as if it had not been. TPE is the
    tree-structured Parzen estimator of Bergstra et al. (2011); its first draws are random. Which
    draws it makes may change with Optuna's version.

    Args:
        space: What varies.
        before: Values of the trials so far, in order, and what they scored, higher is better; None
            for one that diverged.
        seed: Of the search.

    Returns:
        The next values, or None where all that the space allows has been tried.
    """
    if not before:
        return dict(space.start)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draw = int(np.random.SeedSequence([seed, len(before)]).generate_state(1)[0])
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=draw))
    distributions = _distributions(space)
    study.add_trials([_told(space, distributions, *found) for found in before])
    values = _values(space, study.ask(distributions).params)
    tried = [found for found, _ in before]
    if space.size is None or values not in tried:
        return values
    untried = [found for found in space.combinations() if found not in tried]
    return untried[draw % len(untried)] if untried else None


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Ranges by their logarithm; choices by their place, so that TPE knows their order."""
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        **{key: FloatDistribution(*found, log=True) for key, found in space.ranges.items()},
        **{key: IntDistribution(0, len(found) - 1) for key, found in space.choices.items()},
    }


def _told(
    space: Space,
    distributions: Mapping[str, BaseDistribution],
    values: Values,
    score: float | None,
) -> FrozenTrial:
    """A trial that is over. A diverged one is told as pruned, the worst there is: TPE keeps away
    from there, while what failed it would forget."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.PRUNED if score is None else TrialState.COMPLETE,
        value=score,
        params={
            key: space.choices[key].index(value) if key in space.choices else value
            for key, value in values.items()
        },
        distributions=dict(distributions),
    )


def _values(space: Space, params: Mapping[str, float]) -> Values:
    found: Values = {}
    for key in space.start:
        if key in space.choices:
            found[key] = space.choices[key][int(params[key])]
        else:
            low, high = space.ranges[key]
            found[key] = min(max(float(f"{params[key]:.{DIGITS}g}"), low), high)
    return found
