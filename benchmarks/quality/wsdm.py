"""WSDM Cup 2022, market t1: our models and EASE on the organisers' lists of 100.

    python benchmarks/quality/wsdm.py [--json FILE] [--quick | --full] [--work DIR]

nDCG@10 of the held-out item among the 100 of its list; a tie counts as a miss. The cup's only lists
with labels are its valid part, so they are the test here and are looked at once: everything is
chosen on a row a user cut out of train, among 99 items of the market's 5-core part drawn as theirs
were, and what was chosen is trained again on all of train for as many epochs. Train rows are the
union of the full and the 5-core files. Arms: EASE of t1 alone, matrix factorization of t1 alone,
and one of all four markets with an adapter of t1. --full has more trials of each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

if (ROOT := str(Path(__file__).resolve().parents[2])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import (
    Arrays,
    Cache,
    Measures,
    data_folder,
    file_digest,
    header,
    parser,
    say,
    table,
)
from benchmarks.quality.protocols import Lists, PairScores, sampled_ndcg
from benchmarks.quality.stores import store_of
from benchmarks.quality.trials import COUNT, WORDS, chosen
from lorarec.config import Settings
from lorarec.evaluation.significance import paired_bootstrap
from lorarec.jobs.adapt import adapt
from lorarec.jobs.peers import Ease
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.ranking import Arena
from lorarec.tracking.store import Store

MARKET = "t1"
WIDTH = 100
SEED = 0
"""Of the cut and its lists."""
TRIALS: dict[str, list[Any]] = {
    "ease": [500.0, 300.0, 1000.0, 200.0],
    "mf_alone": [
        {"model.dim": 512, "model.temperature": 0.1},
        {"model.dim": 256, "model.temperature": 0.07},
        {"model.dim": 256, "model.temperature": 0.1},
        {"model.dim": 512, "model.temperature": 0.07},
    ],
    "pooled_adapter": [
        {"model.dim": 256, "model.temperature": 0.1},
        {"model.dim": 256, "model.temperature": 0.07},
        {"model.dim": 512, "model.temperature": 0.1},
        {"model.dim": 512, "model.temperature": 0.07},
    ],
}
PUBLISHED = {"LightGCN, 2,048 dimensions": 0.698, "MF, 2,048 dimensions": 0.690, "EASE": 0.67711}


@dataclass(frozen=True)
class Bench:
    """What all arms are trained and measured on.

    Attributes:
        settings: Of our models.
        choosing: Logs with a row a user of t1 cut out as `valid`.
        final: Logs with every train row.
        own: Lists of the rows that were cut.
        lists: The organisers'.
        store: Where our runs go.
        cache: Finished trials.
        trials: How many each arm has.
    """

    settings: Settings
    choosing: Path
    final: Path
    own: Lists
    lists: Lists
    store: Store
    cache: Cache
    trials: int


def open_bench(work: Path, size: str) -> Bench:
    """The train rows, cut and whole, and both kinds of lists."""
    folder = data_folder("wsdm22_xmrec")
    source = folder / "interactions.parquet"
    cache = Cache.of(work, "wsdm", data=file_digest(source), size=size)
    rows = pl.read_parquet(source).filter(pl.col("split") == "train")
    candidates = pl.read_parquet(folder / "candidates.parquet").filter(
        (pl.col("domain") == MARKET) & (pl.col("split") == "valid")
    )
    positives = pl.read_parquet(folder / "qrel.parquet").filter(pl.col("domain") == MARKET)
    if size == "quick":
        some = candidates["user_id"].sort().gather_every(8)
        positives = positives.filter(pl.col("user_id").is_in(some.implode()))
        rows = rows.filter((pl.col("domain") == MARKET) & pl.col("user_id").is_in(some.implode()))
    train = rows.unique(["user_id", "item_id", "domain"]).select("user_id", "item_id", "domain")
    train = train.sort("domain", "user_id", "item_id").with_columns(pl.lit("train").alias("split"))
    core = rows.filter((pl.col("domain") == MARKET) & (pl.col("subset") == "5core"))
    cut = cut_of(core, SEED)
    held = pl.struct("user_id", "item_id", "domain").is_in(
        cut.select(pl.struct("user_id", "item_id", "domain")).to_series().implode()
    )
    own = drawn_lists(train.filter(pl.col("domain") == MARKET), core, cut, SEED)
    marked = train.with_columns(
        pl.when(held).then(pl.lit("valid")).otherwise("split").alias("split")
    )
    choosing, final = cache.folder / "choosing.parquet", cache.folder / "final.parquet"
    cache.folder.mkdir(parents=True, exist_ok=True)
    marked.write_parquet(choosing)
    train.write_parquet(final)
    settings = Settings().with_options(
        {
            "data.split": "column",
            "train.patience": 3,
            # One step size: with all of train there is no validation to choose among several.
            "adapt.learning_rate_grid": [1.0],
        }
        | ({"train.epochs": 1, "adapt.epochs": 1, "train.threads": 1} if size == "quick" else {})
    )
    store = store_of(cache)
    lists = official_lists(candidates, positives)
    return Bench(settings, choosing, final, own, lists, store, cache, COUNT[size])


def cut_of(core: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One 5-core row of each user: `user_id`, `item_id`, `domain`."""
    pairs = core.select("user_id", "item_id", "domain").unique().sort("user_id", "item_id")
    drawn = np.random.default_rng(seed).random(pairs.height)
    return (
        pairs.with_columns(pl.Series("drawn", drawn))
        .sort("user_id", "drawn")
        .unique("user_id", keep="first", maintain_order=True)
        .drop("drawn")
    )


def drawn_lists(train: pl.DataFrame, core: pl.DataFrame, cut: pl.DataFrame, seed: int) -> Lists:
    """Each cut row among 99 items of the 5-core part that its user has no train row with."""
    generator = np.random.default_rng(seed)
    items = core["item_id"].unique().sort().to_numpy()
    had = {user: set(own) for user, own in train.group_by("user_id").agg("item_id").iter_rows()}
    drawn: list[str] = []
    for user, item in cut.select("user_id", "item_id").iter_rows():
        others = [one for one in generator.permutation(items).tolist() if one not in had[user]]
        drawn += [item, *others[: WIDTH - 1]]
    return Lists(cut["user_id"], pl.Series(drawn), WIDTH)


def official_lists(candidates: pl.DataFrame, positives: pl.DataFrame) -> Lists:
    """The organisers' lists, the held-out item first."""
    joined = positives.join(candidates, on=["domain", "user_id"]).sort("user_id")
    drawn: list[str] = []
    for item, others in joined.select("item_id", "item_ids").iter_rows():
        drawn += [item, *(one for one in others if one != item)]
    return Lists(joined["user_id"], pl.Series(drawn), WIDTH)


def trained(
    bench: Bench, arm: str, trial: Any, logs: Path, epochs: tuple[int, int] | None
) -> tuple[PairScores, tuple[int, int]]:
    """An arm trained on some logs, and the epochs of base and adapter.

    Args:
        bench: Settings and store.
        arm: Its name in `TRIALS`.
        trial: One of its trials.
        logs: With a valid part, or all of train.
        epochs: Those that were chosen; None lets validation stop.
    """
    frame = pl.read_parquet(logs)
    alone = frame.filter(pl.col("domain") == MARKET)
    if arm == "ease":
        return Ease(alone, trial).score, (0, 0)
    settings = bench.settings.with_options(trial)
    if epochs is not None:
        fixed = {"train.epochs": max(1, epochs[0]), "adapt.epochs": max(1, epochs[1])}
        settings = settings.with_options({**fixed, "data.valid_share": 0.0})
    arena = Arena.of(frame, MARKET)
    if arm == "mf_alone":
        own = logs.with_name(f"{logs.stem}-{MARKET}.parquet")
        alone.write_parquet(own)
        done = pretrain(settings, [own], bench.store, listen=WORDS)
        return arena.scorer(done.base, None).score, (done.history.best_epoch, 0)
    done = pretrain(settings, [logs], bench.store, listen=WORDS)
    if epochs is not None and not epochs[1]:  # no step of adapting helped
        return arena.scorer(done.base, None).score, epochs
    found = adapt(settings, MARKET, bench.store, base=done.run, listen=WORDS)
    counted = (done.history.best_epoch, found.history.best_epoch)
    return arena.scorer(done.base, found.adapter).score, counted


def best_of(bench: Bench, arm: str) -> Arrays:
    """The trial that is best on the cut rows, trained again on all of train: `valid`, `ndcg`."""

    def tried(trial: Any) -> Arrays:
        score, epochs = trained(bench, arm, trial, bench.choosing, None)
        valid = sampled_ndcg(score, bench.own).mean()
        return {
            "valid": np.asarray(valid),
            "epochs": np.asarray(epochs[0]),
            "both": np.asarray(epochs),
        }

    def refitted() -> Arrays:
        epochs = (int(found["both"][0]), int(found["both"][1]))
        score, _ = trained(bench, arm, trials[best], bench.final, epochs)
        return {"ndcg": sampled_ndcg(score, bench.lists)}

    trials = TRIALS[arm][: bench.trials]
    best, found = chosen(bench.cache, arm, trials, tried)
    final = bench.cache.arm(f"{arm}-final", refitted, trial=trials[best])
    return {**found, **final}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    size = "quick" if options.quick else "full" if options.full else "default"
    header("WSDM Cup 2022, market t1: nDCG@10 among the organisers' lists of 100")
    bench = open_bench(options.work, size)
    found = {arm: best_of(bench, arm) for arm in TRIALS}
    measures = Measures()
    lines: list[list[object]] = []
    for arm, values in found.items():
        mean = float(values["ndcg"].mean())
        measures.add(f"wsdm_{MARKET}_{arm}_ndcg_at_10_sampled", mean, "ndcg")
        lines.append([arm, float(values["valid"]), mean])
    lines += [[f"published {name}", None, value] for name, value in PUBLISHED.items()]
    table("nDCG@10 of 100", ["arm", "cut rows", "the cup's lists"], lines)
    ours = max(("mf_alone", "pooled_adapter"), key=lambda arm: float(found[arm]["valid"]))
    mean = float(found[ours]["ndcg"].mean())
    measures.add("wsdm_t1_ndcg_at_10_sampled", mean, "ndcg", "EASE", mean / PUBLISHED["EASE"])
    gap = paired_bootstrap(found[ours]["ndcg"], found["ease"]["ndcg"])
    print(
        f"\nOurs is {ours}, chosen on the cut rows: {mean:.4f}; minus EASE {gap.mean:+.4f}", end=""
    )
    print(f" [{gap.low:.4f}, {gap.high:.4f}].")
    say(f"Trials of each arm: {bench.trials}.")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished trials are kept; the same command goes on from there.")
        sys.exit(130)
