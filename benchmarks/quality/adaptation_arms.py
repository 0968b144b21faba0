"""What the adaptation benchmark compares: shapes of adapters, and full fine-tuning, as trials.

A shape is chosen on validation with the first seed, one for all markets, and trained again with the
others. Full fine-tuning has as many trials as all the shapes together: its pulls to the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.common import Arrays, say
from benchmarks.quality.arms import WORDS, Bench, base_run, measured
from lorarec.config import Settings
from lorarec.jobs.adapt import Adapted, adapt, fine_tune
from lorarec.jobs.choose import choose_adapter, choose_base
from lorarec.jobs.listener import SILENT
from lorarec.lora.adapter import Adapter
from lorarec.training.loop import STOP_METRIC


@dataclass(frozen=True)
class Trial:
    """One way to adapt every market.

    Attributes:
        targets: As `--targets` has them; None is full fine-tuning.
        decay: `adapt.weight_decay`, the pull of touched rows to the base.
    """

    targets: str | None
    decay: float = 0.0

    def __str__(self) -> str:
        return f"{self.targets or 'full'} (weight decay {self.decay:g})"


@dataclass(frozen=True)
class Shapes:
    """The trials of each arm."""

    twentieth: tuple[Trial, ...]
    """At most 1/20 of full fine-tuning's parameters."""
    sixtieth: tuple[Trial, ...]
    """At most 1/60."""
    full: tuple[Trial, ...]
    """As many as the two above have together."""


SHAPES = Shapes(
    twentieth=(
        Trial("users:4,items:4,transform:8,bias"),
        Trial("users:4,items:6,transform:8,bias"),
    ),
    sixtieth=(Trial("users:1,items:1,transform:8,bias"), Trial("items:2,transform:8,bias")),
    full=tuple(Trial(None, decay) for decay in (0.0, 0.1, 0.3, 1.0)),
)
"""Fixed before any test row was looked at."""
QUICK_SHAPES = Shapes(
    twentieth=(Trial("users:1,items:1,transform:1,bias"),),
    sixtieth=(Trial("transform:1,bias"),),
    full=(Trial(None), Trial(None, 1.0)),
)
BIAS = Trial("bias")
TRANSFORM = Trial("transform:8,bias")
UNSEEN = Trial("users:8,items:8,transform:8,bias")
"""Of a market that the base has not seen: rank 8 on known rows, grown rows for new ids."""


@dataclass(frozen=True)
class Made:
    """One trial in one market, trained."""

    run: str
    valid: float
    """What its training stopped on."""
    parameters: int
    """All that it trains, grown rows among them."""
    grown: int
    full: int
    """What full fine-tuning of the same rows trains."""


def share_of(made: Sequence[Made]) -> float:
    """Parameters ÷ those of full fine-tuning, over some domains."""
    return sum(one.parameters for one in made) / sum(one.full for one in made)


def trained(
    bench: Bench, trial: Trial, market: str, seed: int, exclude: Sequence[str] = ()
) -> Made:
    """A trial in one market, on a base without some markets."""
    settings = bench.seeded(seed).with_options(
        {"adapt.targets": trial.targets, "adapt.weight_decay": trial.decay}
        if trial.targets
        else {"adapt.weight_decay": trial.decay}
    )
    base = str(base_run(bench, bench.seeded(seed), exclude)["run"])

    def make() -> dict[str, object]:
        done = _train(bench, settings, trial, market, base)
        return {
            "run": done.run,
            "valid": done.adapter.info.metrics[STOP_METRIC],
            "parameters": done.size.parameters,
            "grown": done.size.grown,
            "full": done.size.full,
        }

    kept = bench.cache.arm(
        f"trial-{'full' if trial.targets is None else 'lora'}-{market}",
        make,
        settings=settings.model_dump(),
        trial=str(trial),
        base=base,
    )
    counts = (int(kept[name]) for name in ("parameters", "grown", "full"))
    return Made(str(kept["run"]), float(kept["valid"]), *counts)


def _train(bench: Bench, settings: Settings, trial: Trial, market: str, base: str) -> Adapted:
    if trial.targets is not None:
        return adapt(settings, market, bench.store, base=base, listen=WORDS)
    chosen = choose_base(bench.store, base, SILENT)
    frame, source = chosen.base.info.data.read_again(chosen.base.info.split)
    return fine_tune(settings, market, bench.store, chosen, frame, source, WORDS)


def choose(bench: Bench, arm: str, trials: Sequence[Trial], seed: int) -> Trial:
    """The trial that validates best on the mean over the markets; each is said."""
    means = []
    for trial in trials:
        made = [trained(bench, trial, market, seed) for market in bench.markets]
        means.append(float(np.mean([one.valid for one in made])))
        say(
            f"{arm}: {trial}: valid nDCG {means[-1]:.4f}, {share_of(made):.4f} of full's parameters"
        )
    best = trials[int(np.argmax(means))]
    say(f"{arm}: validation chose {best}")
    return best


def values_of(
    bench: Bench,
    trials: dict[str, Trial],
    market: str,
    seed: int,
    exclude: Sequence[str] = (),
    bare: bool = True,
) -> tuple[Arrays, dict[str, Made]]:
    """The measures of some trials on the test users, `<arm>_<metric>`, and what was trained.

    Args:
        bench: The data.
        trials: By the name of their arm.
        market: Where.
        seed: Of base and adapters.
        exclude: Markets that the base has not seen.
        bare: Whether popularity and the frozen base are arms too.
    """
    made = {arm: trained(bench, trial, market, seed, exclude) for arm, trial in trials.items()}
    settings = bench.seeded(seed)
    base = str(base_run(bench, settings, exclude)["run"])
    arms = [*(["popularity", "base"] if bare else []), *trials]

    def make() -> Arrays:
        found = choose_base(bench.store, base, SILENT).base
        models: dict[str, Adapter | None] = {
            arm: choose_adapter(bench.store, one.run, found, market, SILENT)
            for arm, one in made.items()
        }
        return measured(bench, settings, market, base, models, arms)

    runs = {arm: one.run for arm, one in made.items()}
    values = bench.cache.arm(f"values-{market}", make, base=base, runs=runs, arms=arms)
    wanted = [f"{arm}_{metric}" for arm in arms for metric in bench.metrics]
    return {name: values[name] for name in wanted}, made


def in_every_domain(
    bench: Bench, trials: dict[str, Trial], seed: int
) -> tuple[dict[str, Arrays], dict[str, list[Made]]]:
    """`values_of` of all domains of a bench: values by domain, and what was trained by arm."""
    values: dict[str, Arrays] = {}
    made: dict[str, list[Made]] = {arm: [] for arm in trials}
    for domain in bench.markets:
        values[domain], sizes = values_of(bench, trials, domain, seed)
        for arm, one in sizes.items():
            made[arm].append(one)
    return values, made
