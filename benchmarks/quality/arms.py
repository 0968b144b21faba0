"""The arms of benchmarks of domains: ours by the jobs behind the commands, and the peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import Arrays, Cache, say
from benchmarks.quality.peers import IALS, ITERATIONS, L2, PLAIN_L2, Ease, Ials
from benchmarks.quality.protocols import (
    CUT,
    METRICS,
    RECALL,
    SAMPLED,
    candidate_lists,
    measure_peer,
    popularity,
    same_users,
    sampled_ndcg,
    validate_peer,
)
from benchmarks.quality.stores import store_of
from lorarec.config import Settings
from lorarec.jobs.adapt import adapt
from lorarec.jobs.choose import choose_base
from lorarec.jobs.evaluate import evaluate_arms, full_arm
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.ranking import Arena
from lorarec.lora.adapter import Adapter
from lorarec.tracking.store import Store
from lorarec.training.loop import STOP_METRIC

Array = np.ndarray[Any, Any]
RANK = 8
POOLED = "pooled"
OURS = ("popularity", "base", "lora", "full")
WORDS = Listener(say=lambda text: say(f"  {text}"))


@dataclass(frozen=True)
class Bench:
    """What all arms are trained and measured on.

    Attributes:
        settings: Defaults but for the split, or less of everything for a test.
        logs: The interactions.
        lists: The candidate lists of XMarket; None measures full rankings alone.
        markets: All that are measured.
        store: Where our runs go.
        cache: Finished arms.
        trials: (regularization, alpha, factors) of iALS that validation chooses from.
        frame: The split logs.
    """

    settings: Settings
    logs: Path
    lists: Path | None
    markets: tuple[str, ...]
    store: Store
    cache: Cache
    trials: tuple[tuple[float, float, int], ...]
    frame: pl.DataFrame

    @property
    def metrics(self) -> dict[str, str]:
        """What is measured of every arm, and the units."""
        return {name: unit for name, unit in METRICS.items() if self.lists or name == RECALL}

    def seeded(self, seed: int) -> Settings:
        """The settings with another seed."""
        return self.settings.with_options({"train.seed": seed})


def open_bench(
    settings: Settings,
    logs: Path,
    lists: Path | None,
    markets: Sequence[str],
    cache: Cache,
    quick: bool,
) -> Bench:
    """Read the logs, which have a `valid` part, and open a store below the cache's folder."""
    frame = pl.read_parquet(logs).rename({settings.data.columns.get("split", "split"): "split"})
    trials = IALS[:1] if quick else IALS
    return Bench(settings, logs, lists, tuple(markets), store_of(cache), cache, trials, frame)


def open_frame(
    settings: Settings,
    frame: pl.DataFrame,
    markets: Sequence[str],
    cache: Cache,
    quick: bool,
    lists: Path | None = None,
) -> Bench:
    """The same for logs in memory, which are written below the cache's folder."""
    logs = cache.folder / "interactions.parquet"
    logs.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(logs)
    return open_bench(settings, logs, lists, markets, cache, quick)


def mean_over_seeds(runs: Sequence[Arrays]) -> Arrays:
    """Each user's value, on the mean over seeds."""
    return {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}


def base_run(bench: Bench, settings: Settings, exclude: Sequence[str] = ()) -> Arrays:
    """A base over all markets but some: its `run` and its `valid`."""

    def make() -> dict[str, Any]:
        done = pretrain(settings, [bench.logs], bench.store, exclude, WORDS)
        return {"run": done.run, "valid": done.base.info.metrics[STOP_METRIC]}

    without = "-".join(sorted(exclude)) if len(exclude) < 8 else f"{len(exclude)}-domains"
    name = f"base-without-{without}" if exclude else "base"
    return bench.cache.arm(name, make, settings=settings.model_dump(), exclude=sorted(exclude))


def our_arms(bench: Bench, market: str, seed: int) -> Arrays:
    """Popularity, frozen base, LoRA and full fine-tuning of a market, `<arm>_<measure>`."""
    settings = bench.seeded(seed)
    base = str(base_run(bench, settings)["run"])

    def make() -> Arrays:
        lora = adapted(bench, settings, market, base)
        chosen = choose_base(bench.store, base, SILENT)
        frame, source = chosen.base.info.data.read_again(chosen.base.info.split)
        full = full_arm(settings, market, bench.store, chosen, frame, source, WORDS)
        return measured(bench, settings, market, base, {"lora": lora, "full": full}, OURS)

    return bench.cache.arm(f"ours-{market}", make, settings=settings.model_dump(), base=base)


def adapted(bench: Bench, settings: Settings, market: str, base: str) -> Adapter:
    ranked = settings.with_options({"adapt.rank": RANK})
    return adapt(ranked, market, bench.store, base=base, listen=WORDS).adapter


def measured(
    bench: Bench,
    settings: Settings,
    market: str,
    base: str,
    models: dict[str, Adapter | None],
    arms: Sequence[str],
) -> Arrays:
    """The measures of some arms, as `lorarec evaluate` and `lorarec score` find them."""
    chosen = choose_base(bench.store, base, SILENT)
    frame, _ = chosen.base.info.data.read_again(chosen.base.info.split)
    arena = Arena.of(frame, market)
    lists = candidate_lists(bench.lists, market) if bench.lists else None
    cuts = settings.with_options({"evaluate.k": (CUT,), "evaluate.bootstrap": 1})
    results, users = evaluate_arms(cuts, arena, chosen, models, arms, "test")
    found: Arrays = {}
    for arm in arms:
        found[f"{arm}_{RECALL}"] = results[arm].per_user[RECALL]
        if lists is not None:
            same_users(lists, users)
            by_model = arena.scorer(chosen.base, models.get(arm)).score
            score = popularity(arena) if arm == "popularity" else by_model
            found[f"{arm}_{SAMPLED}"] = sampled_ndcg(score, lists)
    return found


def peer_arms(
    bench: Bench, markets: Sequence[str], pooled: bool, seed: int, with_ease: bool = True
) -> dict[str, Arrays]:
    """EASE and, where pooled over all domains, iALS: by arm, `<market>_<measure>`.

    Every trial is measured at once, because its model is too large to keep; which one counts is
    chosen by validation alone. EASE holds a number for each pair of items, so it is not for all.
    """
    place = POOLED if pooled else "-".join(markets)
    found: dict[str, Arrays] = {}
    if with_ease:
        ease = {l2: _ease(bench, markets, l2, place) for l2 in L2}
        best = max(ease, key=lambda l2: float(ease[l2]["valid"]))
        say(f"EASE, {place}: validation chose l2 {best:g}")
        found |= {"ease": ease[PLAIN_L2], "ease_tuned": ease[best]}
    if pooled:
        trials = {trial: _ials(bench, markets, trial, 0) for trial in bench.trials}
        chosen = max(trials, key=lambda trial: float(trials[trial]["valid"]))
        say(
            f"iALS: validation chose regularization {chosen[0]:g}, alpha {chosen[1]:g} and "
            f"{chosen[2]} factors"
        )
        found["ials"] = trials[chosen] if seed == 0 else _ials(bench, markets, chosen, seed)
    return found


def _ease(bench: Bench, markets: Sequence[str], l2: float, place: str) -> Arrays:
    return bench.cache.arm(
        f"ease-{place}-{l2:g}",
        lambda: _peer(bench, Ease(_train_of(bench, markets, place), l2), markets),
        markets=sorted(markets),
        l2=l2,
    )


def _ials(
    bench: Bench, markets: Sequence[str], trial: tuple[float, float, int], seed: int
) -> Arrays:
    return bench.cache.arm(
        f"ials-{trial[0]:g}-{trial[1]:g}-{trial[2]}",
        lambda: _peer(bench, Ials(bench.frame, *trial, seed=seed), markets),
        markets=sorted(markets),
        trial=trial,
        iterations=ITERATIONS,
        seed=seed,
    )


def _train_of(bench: Bench, markets: Sequence[str], place: str) -> pl.DataFrame:
    """The logs of some markets, or of all domains where they are pooled."""
    if place == POOLED:
        return bench.frame
    return bench.frame.filter(pl.col("domain").is_in(list(markets)))


def _peer(bench: Bench, peer: Ease | Ials, markets: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    valid = []
    for market in markets:
        arena = Arena.of(bench.frame, market)
        valid.append(validate_peer(peer, arena))
        lists = candidate_lists(bench.lists, market) if bench.lists else None
        values = measure_peer(peer, arena, lists)
        found |= {f"{market}_{metric}": each for metric, each in values.items()}
    return {**found, "valid": float(np.mean(valid))}


def unseen_arms(bench: Bench, market: str, seed: int) -> Arrays:
    """A market that the base never saw: LoRA on that base, and models of the market alone."""
    settings = bench.seeded(seed)
    base = str(base_run(bench, settings, [market])["run"])

    def make() -> Arrays:
        models: dict[str, Adapter | None] = {"lora": adapted(bench, settings, market, base)}
        return measured(bench, settings, market, base, models, ["lora"])

    found = dict(bench.cache.arm(f"unseen-{market}", make, base=base))
    found |= alone_mf(bench, settings, market)
    for arm, values in peer_arms(bench, [market], pooled=False, seed=seed).items():
        found |= {f"alone_{arm}_{metric}": values[f"{market}_{metric}"] for metric in METRICS}
    return found


def alone_mf(bench: Bench, settings: Settings, market: str) -> Arrays:
    """A matrix factorization of the market alone, at the step sizes that adapt's grid names.

    The best of them on validation is adapted to its own market besides, so that it may learn what
    an adapter adds; what validates better is measured.
    """
    others = sorted(set(bench.frame["domain"]) - {market})
    trials = []
    for multiple in settings.adapt.learning_rate_grid:
        rate = settings.train.learning_rate * multiple
        trial = settings.with_options({"train.learning_rate": rate})
        trials.append(base_run(bench, trial, others))
    best = max(trials, key=lambda trial: float(trial["valid"]))
    base = str(best["run"])

    def make() -> Arrays:
        adapter = adapted(bench, settings, market, base)
        better = adapter.info.metrics[STOP_METRIC] > float(best["valid"])
        models: dict[str, Adapter | None] = {"base": None, "lora": adapter}
        arm = "lora" if better else "base"
        found = measured(bench, settings, market, base, models, [arm])
        return {f"alone_mf_{metric}": found[f"{arm}_{metric}"] for metric in bench.metrics}

    return bench.cache.arm(f"alone-mf-{market}", make, base=base)
