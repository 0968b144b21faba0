"""Evaluate arms of one domain by full ranking, on the same users, in one MLflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from lorarec.config import Settings
from lorarec.config.arms import rank_of
from lorarec.data.core import OUTSIDE
from lorarec.data.source import DataSource
from lorarec.data.tables import write_parquet
from lorarec.errors import ConfigError, NotFoundError
from lorarec.evaluation.drift import Drift
from lorarec.evaluation.evaluate import (
    RECALL_DENOMINATOR,
    ArmResult,
    Difference,
    compare,
    evaluate_ranking,
)
from lorarec.jobs.adapt import fine_tune, full_shape, recipe
from lorarec.jobs.choose import NO_ADAPTER, Chosen, choose_adapter, choose_base
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.rank_arms import rank_adapters, rank_arm
from lorarec.jobs.ranking import Arena
from lorarec.jobs.score_samples import score_samples
from lorarec.jobs.trained_arms import (
    POOLED,
    RANKED,
    Pooled,
    Ranker,
    bias_arm,
    made_before,
    ranker,
)
from lorarec.lora.adapter import Adapter
from lorarec.lora.config import recorded_rank
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

HEADLINE = ("recall", "ndcg")
"""Metrics whose differences between arms are tested."""


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` found."""

    domain: str
    part: str
    results: dict[str, ArmResult]
    """By arm, in the order asked for."""
    differences: dict[str, dict[str, Difference]]
    """Each arm minus the frozen base, paired by user; empty without the base arm."""
    users: pl.Series
    """Ids of the evaluated users."""
    run: str
    drift: Drift
    """From train to the part."""


def evaluate(
    settings: Settings,
    domain: str,
    store: Store,
    base: str | None = None,
    adapter: str | None = None,
    part: str = "test",
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
    parent: str | None = None,
    pooled: Pooled | None = None,
) -> Evaluated:
    """Rank the domain's whole catalogue for every held-out user, with each arm.

    Args:
        settings: Its section `evaluate` says which arms and cuts; `adapt` and `train` how the arm
            `full` is trained where it has not been yet.
        domain: Its name.
        store: Where base and adapters are and the run goes.
        base: URI of a base; None is the newest.
        adapter: URI of an adapter, or `none`; None is the newest of the domain on the base.
        part: Part of the split to evaluate on.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.
        parent: Id of the run that this one is a part of.
        pooled: The arm of that name, where several evaluations share it.

    Raises:
        NotFoundError: There is no such base, adapter, domain or part.
        ConfigError: No arm is left without the adapter, or the part is train.
        AdapterMismatchError: The adapter is of another base.
    """
    ready = prepare(settings, domain, store, base, adapter, part, paths, listen, pooled)
    found, arms = ready.models["lora"], ready.arms
    tags = standard_tags(
        domain=domain,
        rank=recorded_rank(found.info.config) if found else None,
        **ready.chosen.tags,
        adapter_digest=found.info.digest if found else None,
        data_digest=ready.source.digest,
        part=part,
        recall_denominator=RECALL_DENOMINATOR,
    )
    params = {**settings.flat(), "domain": domain, "part": part, "evaluated_arms": ",".join(arms)}
    if found is not None:
        params["targets"] = found.info.config.describe()
    recorded = store.run(
        f"evaluate-{domain}",
        "evaluate",
        params=params,
        tags=tags,
        config=settings.model_dump(),
        parent=parent,
    )
    with recorded as run:
        run.log_inputs(read_logs(ready.source, "evaluation"))
        results, users = evaluate_arms(
            settings, ready.arena, ready.chosen, ready.models, arms, part, ready.rankers
        )
        differences = compare_with_base(settings, results)
        for arm, result in results.items():
            run.log_metrics({f"{arm}_{key}": value for key, value in result.metrics().items()})
        drift = ready.arena.drift(part)
        run.log_metrics({f"drift_{key}": value for key, value in drift.to_json().items()})
        scores = score_samples(
            ready.arena, ready.chosen.base, ready.models, arms, part, settings.train.seed
        )
        run.log_json(
            "evaluation.json",
            _report(domain, part, results, differences)
            | {
                "drift": drift.to_json(),
                "scores": {arm: sample.to_json() for arm, sample in scores.items()},
            },
        )
        with run.artifact_folder("per_user") as folder:
            for arm, result in results.items():
                write_parquet(result.per_user_frame(users.to_list()), folder / f"{arm}.parquet")
    return Evaluated(domain, part, results, differences, users, run.uri, drift)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Arms of a domain, trained and ready to rank."""

    chosen: Chosen
    source: DataSource
    arena: Arena
    arms: list[str]
    models: dict[str, Adapter | None]
    """Adapters by arm; None is the bare base."""
    rankers: dict[str, Ranker]
    """What ranks by itself, by arm."""


def prepare(
    settings: Settings,
    domain: str,
    store: Store,
    base: str | None,
    adapter: str | None,
    part: str,
    paths: Sequence[Path],
    listen: Listener,
    pooled: Pooled | None = None,
) -> Prepared:
    """The arms that `settings.evaluate` asks for; arguments and errors are those of `evaluate`."""
    if part in ("train", OUTSIDE):
        raise ConfigError(
            f"The part {part} cannot be evaluated: what a user had in {part} is taken out before "
            f"the ranking, so every number would be 0. Expected a part that was held out, such as "
            f"--on test or --on valid."
        )
    chosen = choose_base(store, base, listen, adapter)
    arms: list[str] = list(settings.evaluate.arms)
    found = choose_adapter(store, adapter, chosen.base, domain, listen) if "lora" in arms else None
    if "lora" in arms and found is None:
        if adapter == NO_ADAPTER:
            arms.remove("lora")
            if not arms:
                raise ConfigError(
                    "The only arm asked for is lora, and --adapter none leaves it out. Expected "
                    "another arm beside it, such as --arms popularity,base."
                )
        else:
            raise NotFoundError(
                f"There is no adapter of {domain!r} on this base to evaluate. Make one: "
                f"lorarec adapt --domain {domain} --rank 8, or leave it out: --adapter none"
            )
    ranks = rank_adapters(arms, domain, store, chosen.base, listen)
    there = {arm: own for arm, own in {"lora": found, **ranks}.items() if own is not None}
    if there:
        chosen = chosen.beside(*(own.info for own in there.values()))
    info = chosen.base.info
    whole = POOLED in arms
    frame, source = info.data.read_again(info.split, paths, domain=None if whole else domain)
    for arm, own in there.items():
        if own.info.data_digest != source.digest:
            which = "The adapter" if arm == "lora" else f"The adapter of {arm}"
            listen.say(f"{which} was trained on other logs than it is evaluated on.")
    arena = Arena.of(frame, domain)
    if part == "valid":
        listen.say(
            "Adapters and the other trained arms were chosen on valid, so they look better on it "
            "than they are; --on test tells."
        )
    arena.held_out(part)  # so that an empty part is told before anything is trained
    models = {"lora": found, **ranks}
    for arm in (arm for arm, own in ranks.items() if own is None):
        rank = rank_of(arm)
        assert rank is not None
        models[arm] = rank_arm(rank, settings, domain, store, chosen, frame, source, listen)
    if "full" in arms:
        models["full"] = full_arm(settings, domain, store, chosen, frame, source, listen)
    if "bias" in arms:
        models["bias"] = bias_arm(settings, domain, store, chosen, frame, source, listen)
    rankers = {arm: ranker(arm, settings, arena, listen) for arm in arms if arm in RANKED}
    if whole:
        pooled = pooled or Pooled(settings, listen)
        rankers[POOLED] = pooled.arm(frame, source, info.split, arena)
    return Prepared(chosen, source, arena, arms, models, rankers)


def parts_seen(part: str) -> tuple[str, ...]:
    """The parts whose items a user is not recommended again where `part` is held out."""
    return ("train", OUTSIDE) if part == "valid" else ("train", OUTSIDE, "valid")


def evaluate_arms(
    settings: Settings,
    arena: Arena,
    chosen: Chosen,
    models: dict[str, Adapter | None],
    arms: Sequence[str],
    part: str,
    rankers: Mapping[str, Ranker] = MappingProxyType({}),
) -> tuple[dict[str, ArmResult], pl.Series]:
    """Each arm's result on the held-out users of a part, and the users.

    What a user had in train is never recommended, whether it is in the core or not; outside
    validation, nor what it had in valid.
    """
    users, held_out = arena.held_out(part)
    seen = arena.seen(users, parts_seen(part))
    cold = ~users.is_in(arena.members.implode()).to_numpy()
    activity = arena.activity(users)
    cuts = settings.evaluate.k
    results = {}
    for arm in arms:
        if arm == "popularity":
            ranked, parameters = arena.popular(max(cuts), seen)[0], None
        elif arm in rankers:
            ranked = rankers[arm].rank(users, max(cuts), seen)
            parameters = rankers[arm].parameters
        else:
            adapter = models.get(arm)
            scorer = arena.scorer(chosen.base, adapter)
            ranked = arena.rank(scorer, users, max(cuts), seen)[0]
            counts = adapter.info.parameters if adapter else {"factors": 0, "grown": 0}
            parameters = counts["factors"] + counts["grown"]
        results[arm] = evaluate_ranking(
            ranked,
            held_out,
            cuts,
            name=arm,
            catalogue=range(len(arena.catalogue)),
            cold=cold,
            activity=activity,
            popularity=arena.popularity,
            parameters=parameters,
            resamples=settings.evaluate.bootstrap,
            seed=settings.train.seed,
            confidence=settings.evaluate.confidence,
        )
    return results, users


def compare_with_base(
    settings: Settings, results: dict[str, ArmResult]
) -> dict[str, dict[str, Difference]]:
    """Paired differences of the headline metrics; empty without the base arm."""
    if "base" not in results:
        return {}
    return compare(
        results,
        "base",
        metrics=headline_keys(results["base"]),
        resamples=settings.evaluate.bootstrap,
        seed=settings.train.seed,
        confidence=settings.evaluate.confidence,
    )


def ranking_of(
    ready: Prepared, arm: str, users: pl.Series, k: int, seen: sparse.csr_matrix
) -> npt.NDArray[np.int64]:
    """The k best unseen catalogue items of each user by one arm: positions (m, k)."""
    if arm == "popularity":
        return ready.arena.popular(k, seen)[0]
    if arm in ready.rankers:
        return ready.rankers[arm].rank(users, k, seen)
    scorer = ready.arena.scorer(ready.chosen.base, ready.models.get(arm))
    return ready.arena.rank(scorer, users, k, seen)[0]


def headline_keys(result: ArmResult) -> list[str]:
    """Metric keys of `HEADLINE` at all cuts."""
    return [key for key in result.per_user if key.startswith(tuple(f"{m}_at" for m in HEADLINE))]


def _report(
    domain: str,
    part: str,
    results: dict[str, ArmResult],
    differences: dict[str, dict[str, Difference]],
) -> dict[str, object]:
    """What `evaluation.json` holds."""
    return {
        "domain": domain,
        "part": part,
        "arms": {arm: result.to_json() for arm, result in results.items()},
        "minus_base": {
            arm: {key: difference.to_json() for key, difference in by_metric.items()}
            for arm, by_metric in differences.items()
        },
    }


def full_arm(
    settings: Settings,
    domain: str,
    store: Store,
    chosen: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    listen: Listener,
) -> Adapter:
    """The domain fully fine-tuned: an earlier run made the same way, or a new one."""
    made_like = recipe(settings, full_shape(settings, chosen.base))
    found = made_before(store, "full", domain, chosen, source, made_like)
    if found is not None:
        listen.say(f"Full fine-tuning: {found[1]}, made before with the same settings.")
        return found[0]
    listen.say("Full fine-tuning: none made this way yet; training it.")
    return fine_tune(settings, domain, store, chosen, frame, source, listen).adapter
