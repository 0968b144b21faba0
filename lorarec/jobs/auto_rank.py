"""`--rank auto`: train once at the widest rank, truncate, and keep the smallest that is as good.

What is trained at the largest rank of a geometric grid holds every smaller one: its truncation is
the nearest adapter of that rank, costs a QR and an SVD of thin factors, and ranks no worse than one
that was trained at a small rank (`benchmarks/NOTES.md`, 2026-11-24). So the whole curve costs one
training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lorarec.config.ranks import SINGLE
from lorarec.errors import ConfigError, DataError
from lorarec.evaluation.one_standard_error import Standing, smallest_within, standings
from lorarec.evaluation.rank_curve import RankCurve, draw
from lorarec.jobs.domain import DomainData
from lorarec.jobs.listener import Listener
from lorarec.jobs.search import Trained
from lorarec.lora.config import TARGETS, AdapterConfig, parse_targets
from lorarec.lora.narrow import geometric_grid, narrowed, saving_ranks
from lorarec.lora.size import adapter_size, without_excess
from lorarec.lora.state import TABLES, AdapterState
from lorarec.lora.towers import largest_ranks
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel
from lorarec.tracking.held_runs import RunLog
from lorarec.training.validation import METRICS, Array, RankingValidation

RECALL, NDCG = METRICS
USERS = 2
"""Validation users that a standard error needs."""


@dataclass(frozen=True)
class Tried:
    """One target at a smaller rank, all others as chosen until then."""

    target: str
    rank: int
    standing: Standing
    """To the best of the curve."""


@dataclass(frozen=True)
class Decision:
    """What was decided, and on what."""

    curve: RankCurve
    """All free targets at one rank."""
    ranks: dict[str, int]
    """Of every target in the end."""
    tried: list[Tried]

    def record(self) -> dict[str, object]:
        """All of it as JSON takes it."""
        steps = [
            {
                "target": step.target,
                "rank": step.rank,
                "recall": step.standing.mean,
                "behind_best": step.standing.behind,
                "behind_best_standard_error": step.standing.behind_error,
                "within_one_standard_error": step.standing.within,
            }
            for step in self.tried
        ]
        return {**self.curve.record(), "targets": self.ranks, "one_by_one": steps}


def free_targets(model: BaseModel, targets: str | None) -> tuple[str, ...]:
    """The targets whose rank is to be chosen: those that `--targets` gives none.

    Raises:
        ConfigError: There is none.
    """
    offered = (*TARGETS, *largest_ranks(model))
    asked = dict.fromkeys(TARGETS) if targets is None else parse_targets(targets, offered)
    free = tuple(name for name, rank in asked.items() if rank is None and name != "bias")
    if not free:
        raise ConfigError(
            f"No rank is left to choose: in the targets {targets!r} each has its own, which wins, "
            f"or can have none. Expected one without, such as --targets users,items:4,bias, or one "
            f"rank: --rank {SINGLE}"
        )
    return free


def check_validation(users: int, domain: str, asked: str) -> None:
    """Refuse to compare ranks where nothing tells them apart.

    Raises:
        DataError: There are fewer than two validation users.
    """
    if users < USERS:
        raise DataError(
            f"--rank {asked} compares ranks by validation, and {domain!r} has {users} validation "
            f"users with a train row. Expected {USERS} or more; name one rank: "
            f"lorarec adapt --domain {domain} --rank {SINGLE}"
        )


@dataclass(frozen=True)
class AutoRank:
    """The rule for one adapter.

    Attributes:
        free: Targets whose rank is chosen; others keep theirs.
    """

    free: tuple[str, ...]

    def widest(
        self, config: AdapterConfig, base: Base, data: DomainData, touched: Mapping[str, int]
    ) -> AdapterConfig:
        """The shape that is trained: each free target at the largest power of two that saves.

        Raises:
            DataError: There is nothing to validate on, or nothing that a rank saves on.
        """
        users = len(RankingValidation(data.train, data.valid, [data.name], config.seed))
        check_validation(users, data.name, "auto")
        saving = saving_ranks(base.model, touched)
        widest = {name: geometric_grid(saving[name])[-1] for name in self.free}
        config = config.model_copy(update={"ranks": {**config.ranks, **widest}})
        left = without_excess(config, base.model, touched).ranks
        if not any(name in left for name in self.free):
            raise DataError(
                f"No rank saves anything on {', '.join(self.free)}: the base knows too few rows of "
                f"{data.name!r}. Expected other targets, such as --targets users,items,transform,"
                f"bias, or one rank: --rank {SINGLE}"
            )
        return config

    def choose(
        self,
        trained: Trained,
        state: AdapterState,
        base: Base,
        data: DomainData,
        device: str,
        listen: Listener,
    ) -> tuple[Trained, AdapterConfig, Decision]:
        """The smallest rank of each free target that is within one standard error of the best.

        First one rank for all of them, each no wider than it was trained. Then each by itself is
        lowered from there, the one with most numbers first, to its smallest rank that is still
        within one standard error of the same best.

        Args:
            trained: At the widest shape.
            state: Of it.
            base: What it is of.
            data: Rows of the domain.
            device: Where to validate.
            listen: Takes words.

        Returns:
            The adapter at the chosen ranks, its shape, and how it was chosen.
        """
        validation = RankingValidation(
            data.train, data.valid, [data.name], state.config.seed, device
        )

        def measured(ranks: Mapping[str, int]) -> dict[str, Array]:
            model, _ = narrowed(base.model, state, ranks)
            return validation.by_user({data.name: model.to(device)})

        base.model.to(device)
        try:
            # Where no rank saves anything a target has values of its own, and no rank.
            ranks = state.config.ranks
            wide = {name: ranks[name] for name in self.free if name in ranks}
            grid = geometric_grid(max(wide.values()))
            values = {rank: measured(_at_most(rank, wide)) for rank in grid}
            curve = curve_of(data.name, values, trained.untrained)
            chosen = _at_most(curve.chosen, wide)
            chosen, tried = _lowered(chosen, state, values[curve.best][RECALL], measured)
            found = {name: float(value.mean()) for name, value in measured(chosen).items()}
        finally:
            base.model.to("cpu")
        model, config = narrowed(base.model, state, chosen)
        size = adapter_size(model, *(len(state.rows(name)) for name in TABLES))
        narrow = replace(
            trained,
            model=model.requires_grad_(False),
            metrics=trained.metrics | found,
            # Of targets without rows of their own the state does not know which rows there are.
            size=replace(size, full=trained.size.full),
        )
        listen.say(
            f"Ranks of {data.name}: {config.describe()}. One rank for all would be "
            f"{curve.chosen}, the smallest within one standard error of the best, {curve.best}."
        )
        return narrow, config, Decision(curve, dict(config.ranks), tried)


def curve_of(
    domain: str, values: Mapping[int, Mapping[str, Array]], untrained: Mapping[str, float]
) -> RankCurve:
    """The curve of what ranks validate like, and the rank that the rule chooses.

    Args:
        domain: Its name.
        values: Rank → by metric, as `RankingValidation.by_user` gives them.
        untrained: Means of the frozen base.
    """
    points = standings({rank: value[RECALL] for rank, value in values.items()})
    return RankCurve(
        domain,
        points,
        {rank: float(value[NDCG].mean()) for rank, value in values.items()},
        len(next(iter(values.values()))[RECALL]),
        untrained[RECALL],
        smallest_within(points),
    )


def record_curve(run: RunLog, curve: RankCurve, record: object, title: str, note: str = "") -> None:
    """Keep a curve in a run: metrics whose step is the rank, `ranks.json`, `rank_curve.png`.

    Raises:
        StoreError: The store or the disk refused.
    """
    for rank in sorted(curve.points):
        run.log_metrics(curve.metrics(rank), step=rank)
    run.log_json("ranks.json", record)
    run.log_file("rank_curve.png", lambda path: draw(curve, path, title, note))


def _at_most(rank: int, wide: Mapping[str, int]) -> dict[str, int]:
    return {name: min(rank, widest) for name, widest in wide.items()}


def _lowered(
    ranks: Mapping[str, int],
    state: AdapterState,
    best: Array,
    measured: Callable[[Mapping[str, int]], Mapping[str, Array]],
) -> tuple[dict[str, int], list[Tried]]:
    """Each target at its smallest rank that is within one standard error of the best."""

    def numbers(name: str) -> int:
        product = state.product(name)
        return 0 if product is None else product.left.shape[0] + product.right.shape[1]

    found, tried = dict(ranks), []
    for name in sorted(ranks, key=numbers, reverse=True):
        for rank in geometric_grid(found[name])[:-1]:
            recall = measured({**found, name: rank})[RECALL]
            tried.append(Tried(name, rank, standings({rank: recall}, best)[rank]))
            if tried[-1].standing.within:
                found[name] = rank
                break
    return found, tried
