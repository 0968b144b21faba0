"""Adapters on the validation part of one domain, before and after something was done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import DataError, NotFoundError
from lorarec.evaluation.evaluate import ArmResult, Difference, compare
from lorarec.jobs.choose import Chosen
from lorarec.jobs.evaluate import evaluate_arms
from lorarec.jobs.listener import Listener
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter

CUT = 20
METRICS = (f"recall_at_{CUT}", f"ndcg_at_{CUT}")


@dataclass(frozen=True)
class Validated:
    """Arms on the same validation users, each compared with the first."""

    results: dict[str, ArmResult]
    differences: dict[str, dict[str, Difference]]
    """Each but the first minus the first, paired by user, by metric."""

    def metrics(self, arm: str) -> dict[str, float]:
        """Means of an arm: `recall_at_20` and `ndcg_at_20`."""
        found = self.results[arm].metrics()
        return {name: found[name] for name in METRICS}

    def loss(self, arm: str) -> float:
        """Recall that the first arm has and this one has not; negative where it gained."""
        return -self.differences[arm][METRICS[0]].interval.mean


def validated(
    settings: Settings,
    domain: str,
    chosen: Chosen,
    arms: Mapping[str, Adapter | None],
    paths: Sequence[Path],
    listen: Listener,
    must: bool = False,
) -> Validated | None:
    """Rank the domain's catalogue for its validation users, as `lorarec evaluate --on valid` does.

    The test part is never looked at. Validation while training differs a little: it knows no cold
    users and takes 4096 of the others at most.

    Args:
        settings: Its section `evaluate` has resamples and confidence.
        domain: Its name.
        chosen: The base.
        arms: By name, None for the bare base; the first is what others are compared with.
        paths: Other logs than the base's, by choice.
        listen: Hears it where nothing could be measured.
        must: Whether logs without the domain are an error.

    Returns:
        None where the base's logs are not there any more or have no validation rows of the domain.

    Raises:
        DataError: The logs that were named by choice cannot be used.
        NotFoundError: They, or with `must` the base's logs, do not have the domain.
    """
    info = chosen.base.info
    try:
        frame, _ = info.data.read_again(info.split, paths, domain=domain)
        arena = Arena.of(frame, domain)
        arena.held_out("valid")
    except (DataError, NotFoundError) as error:
        if paths or (must and isinstance(error, NotFoundError)):
            raise
        listen.say(f"Nothing was measured: {error}")
        return None
    chosen_settings = settings.with_options({"evaluate.k": str(CUT)})
    results, _ = evaluate_arms(chosen_settings, arena, chosen, dict(arms), list(arms), "valid")
    differences = compare(
        results,
        next(iter(arms)),
        metrics=METRICS,
        resamples=settings.evaluate.bootstrap,
        seed=settings.train.seed,
        confidence=settings.evaluate.confidence,
    )
    return Validated(results, differences)
