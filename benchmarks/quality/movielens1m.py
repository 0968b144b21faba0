"""MovieLens 1M, the published split of LCFN: our two models beside the peers.

    python benchmarks/quality/movielens1m.py [--json FILE] [--quick | --full] [--work DIR]

recall@20 = hits ÷ held-out films, over all 3,043 films with the user's train films taken out (as
published: its valid films are not), mean over users; d = 128. Every arm has the same number of
trials and the same 20 places; what counts is chosen on valid, and test is looked at once. Films
with under 20 train rows hardly enter the first 20 of all films, so the tail is ranked among itself;
its recall among all films stands beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
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
from benchmarks.quality.peers import Bpr, Ease, Ials, ItemKnn
from benchmarks.quality.protocols import Ranker, rank_peer
from benchmarks.quality.stores import store_of
from benchmarks.quality.trials import COUNT, DOMAIN, WORDS, Ours, Popular, chosen, recall_of
from lorarec.config import Settings
from lorarec.evaluation.metrics import HeldOut
from lorarec.evaluation.significance import paired_bootstrap
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.ranking import Arena
from lorarec.tracking.store import Store

Array = np.ndarray[Any, Any]
PUBLISHED = {"SimpleX": 0.2802, "UltraGCN": 0.2787, "LightGCN": 0.2576}
"""recall@20 on test, as in RecZoo; chosen on test."""
TAIL = 20
"""Films with fewer train rows than this are the tail."""
TRIALS: dict[str, list[Any]] = {
    "item_knn": [(100, 0.0), (200, 10.0), (50, 10.0), (400, 50.0)],
    "ease": [500.0, 300.0, 1000.0, 200.0],
    "ials": [(0.05, 1.0, 128), (3.0, 3.0, 128), (0.05, 1.0, 64), (3.0, 10.0, 128)],
    "bpr": [(0.005, 0.01, 128), (0.002, 0.01, 128), (0.01, 0.03, 64), (0.005, 0.003, 128)],
    "mf": [{"model.temperature": tau} for tau in (0.2, 0.15, 0.25, 0.175)],
    "two_tower": [
        {"model.temperature": 0.2, "model.history": "none"},
        {"model.temperature": 0.2, "model.history": "mean", "model.history_power": 1.0},
        {"model.temperature": 0.15, "model.history": "mean", "model.history_power": 1.0},
        {"model.temperature": 0.15, "model.history": "none"},
    ],
}
"""What each arm is tried with, first what --quick and the default take."""
TAILS = {"among_tail": "two_tower_over_mf_tail", "tail": "two_tower_over_mf_tail_among_all"}
"""What is measured of the tail, and the name of the ratio."""
FEATURES = {
    "model.name": "two-tower",
    "features.user_columns": {"m1_user": {"kind": "ignore"}, "domain": {"kind": "ignore"}},
    "features.item_columns": {"m1_item": {"kind": "ignore"}, "title": {"kind": "ignore"}},
}


@dataclass(frozen=True)
class Bench:
    """What all arms are trained and measured on.

    Attributes:
        settings: Of both of our models.
        logs: The interactions, all of one domain.
        folder: Of the data set, with the features.
        frame: The split logs.
        arena: Catalogue and users.
        store: Where our runs go.
        cache: Finished trials.
        trials: How many each arm has.
        seed: Of everything random.
    """

    settings: Settings
    logs: Path
    folder: Path
    frame: pl.DataFrame
    arena: Arena
    store: Store
    cache: Cache
    trials: int
    seed: int = 0


def open_bench(work: Path, size: str, seed: int = 0) -> Bench:
    """The data set as one domain, and where trials are kept."""
    folder = data_folder("movielens1m_m1")
    source = folder / "interactions.parquet"
    cache = Cache.of(work, "movielens1m", data=file_digest(source), size=size, seed=seed)
    logs = cache.folder / "interactions.parquet"
    frame = pl.read_parquet(source, columns=["user_id", "item_id", "split"])
    if size == "quick":
        frame = frame.filter(pl.col("user_id").cast(pl.Int64) % 10 == 0)
    frame = frame.with_columns(pl.lit(DOMAIN).alias("domain"))
    logs.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(logs)
    store = store_of(cache)
    settings = Settings().with_options(
        {"data.split": "column", "train.seed": seed, "train.epochs": 14, "train.patience": 2}
        | ({"model.dim": 16, "train.epochs": 2, "train.threads": 1} if size == "quick" else {})
    )
    arena = Arena.of(frame, DOMAIN)
    return Bench(settings, logs, folder, frame, arena, store, cache, COUNT[size], seed)


def measured(bench: Bench, model: Ranker) -> Arrays:
    """What is measured of a model: `valid`, and of each test user `recall`, `tail`, `among_tail`.

    The last two are of the users that have a held-out film of the tail.
    """
    arena = bench.arena
    tail = arena.popularity < TAIL
    found: Arrays = {}
    for part in ("valid", "test"):
        users, held = arena.held_out(part)
        seen = arena.seen(users, ("train",))
        ranked = rank_peer(model, arena, users, seen)
        recall = recall_of(ranked, held)
        if part == "valid":
            found["valid"] = np.asarray(recall.mean())
            continue
        found["recall"] = recall
        place, rare = tail_of(held, tail)
        if len(place):
            among = rank_peer(model, arena, users.gather(place), seen[place], tail)
            found["tail"] = recall_of(ranked[place], rare)
            found["among_tail"] = recall_of(among, rare)
    return found


def tail_of(held: HeldOut, tail: Array) -> tuple[Array, HeldOut]:
    """The users with a held-out film of the tail, and those films of theirs."""
    user = np.repeat(np.arange(len(held.indptr) - 1), np.diff(held.indptr))
    rare = tail[held.rows]
    users, place = np.unique(user[rare], return_inverse=True)
    return users, HeldOut.from_pairs(place, held.rows[rare], len(users))


def our_trial(bench: Bench, arm: str, options: Mapping[str, Any]) -> Arrays:
    """One of our models at some settings."""
    settings = bench.settings.with_options(options)
    if arm == "two_tower":
        tables = {f"features.{n}": str(bench.folder / f"{n}.parquet") for n in ("users", "items")}
        settings = settings.with_options(FEATURES | tables | dict(options))
    base = pretrain(settings, [bench.logs], bench.store, listen=WORDS).base
    return measured(bench, Ours(bench.arena.scorer(base, None)))


def peer_of(bench: Bench, arm: str, trial: Any) -> Ranker:
    """A peer, trained."""
    if arm == "ease":
        return Ease(bench.frame, trial)
    if arm == "item_knn":
        return ItemKnn(bench.frame, *trial)
    if arm == "ials":
        return Ials(bench.frame, *trial, seed=bench.seed)
    return Bpr(bench.frame, *trial, seed=bench.seed)


def best_of(bench: Bench, arm: str) -> Arrays:
    """The trial that is best on valid."""

    def make(trial: Any) -> Arrays:
        if arm in ("mf", "two_tower"):
            return our_trial(bench, arm, trial)
        return measured(bench, peer_of(bench, arm, trial))

    return chosen(bench.cache, arm, TRIALS[arm][: bench.trials], make)[1]


def report(found: Mapping[str, Arrays], measures: Measures) -> None:
    """The table, and a row of each measure."""
    lines = []
    for arm, values in found.items():
        name = "recall_at_20" if arm == "two_tower" else f"{arm}_recall_at_20"
        mean = float(values["recall"].mean())
        best = PUBLISHED["SimpleX"]
        measures.add(name, mean, "recall", "published SimpleX", mean / best)
        tails = [float(values[key].mean()) if key in values else None for key in TAILS]
        for key, tail in zip(TAILS, tails, strict=True):
            if tail is not None:
                measures.add(f"{arm}_{key}_recall_at_20", tail, "recall")
        lines.append([arm, float(values["valid"]), mean, *tails])
    columns = ["arm", "valid", "test", "tail among itself", "tail among all"]
    table("recall@20, full ranking, train films taken out", columns, lines)
    ours, plain = found["two_tower"], found["mf"]
    rows = []
    for key, name in {"recall": "two_tower_over_mf", **TAILS}.items():
        if key not in plain or not plain[key].mean():
            measures.leave_out(name, "the factorization has no such film in its 20 places")
            continue
        measures.add(name, float(ours[key].mean() / plain[key].mean()), "ratio", "mf")
        gap = paired_bootstrap(ours[key], plain[key])
        rows.append([name, len(ours[key]), gap.mean, gap.low, gap.high])
    title = "two towers minus matrix factorization, paired 95 % interval over users"
    table(title, ["ratio", "users", "difference", "low", "high"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    size = "quick" if options.quick else "full" if options.full else "default"
    header("MovieLens 1M (m1): matrix factorization and two towers, and the peers")
    bench = open_bench(options.work, size)
    found = {
        "popularity": bench.cache.arm("popularity", lambda: measured(bench, Popular(bench.arena)))
    }
    for arm in TRIALS:
        found[arm] = best_of(bench, arm)
    measures = Measures()
    report(found, measures)
    for name, value in PUBLISHED.items():
        print(f"Published, chosen on test: {name} {value:.4f}")
    print(f"Trials of each arm: {bench.trials}, chosen on valid.")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished trials are kept; the same command goes on from there.")
        sys.exit(130)
