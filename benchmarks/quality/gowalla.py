"""Gowalla, the published split of NGCF and LightGCN: our matrix factorization beside the peers.

    python benchmarks/quality/gowalla.py [--json FILE] [--quick | --full] [--work DIR]

recall@20 = hits ÷ held-out places, over all 40,981 places with the user's train places taken out,
mean over users; d = 64. The data set has no validation part, so a tenth of train is drawn as one:
settings and the number of epochs are chosen there, the same number of trials for every arm. What
was chosen is trained again on all of train for as many epochs, and test is looked at once.
"""

from __future__ import annotations

import os
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
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.ranking import Arena
from lorarec.tracking.store import Store

PUBLISHED = {
    "SimpleX": 0.1872, "UltraGCN": 0.1862, "GF-CF": 0.1849, "MF-CCL": 0.1837, "LightGCN": 0.1820,
    "EASE": 0.1765, "MF-BPR": 0.1627, "item-kNN": 0.1570, "popularity": 0.0416,
}  # fmt: skip
"""recall@20 on test, chosen on test, as in RecZoo (item-kNN is its itemCF)."""
AIM = "MF-CCL"
"""Plain matrix factorization, the best published."""
SHARE = 0.1
"""Of the train rows, drawn as validation."""
DIM = 64
TRIALS: dict[str, list[Any]] = {
    "item_knn": [(100, 0.0), (200, 10.0), (50, 10.0), (400, 50.0)],
    "ease": [80.0, 300.0, 30.0, 1000.0],
    "ials": [
        (0.05, 10.0, DIM, 15),
        (3.0, 10.0, DIM, 15),
        (1.0, 30.0, DIM, 15),
        (3.0, 3.0, DIM, 30),
    ],
    "bpr": [
        (0.02, 0.003, DIM, 100),
        (0.05, 0.01, DIM, 60),
        (0.02, 0.01, DIM, 200),
        (0.01, 0.003, DIM, 200),
    ],
    "mf": [{"model.temperature": tau} for tau in (0.1, 0.125, 0.085, 0.15)],
}  # fmt: skip
"""What each arm is tried with, first what --quick and the default take."""
LARGE = 20_000
"""Items above which EASE, which is cubic in them, is left to --full."""
QUICK_ROWS = 5
"""Train rows that an item needs for --quick."""
EASE_BYTES = 28
"""Memory of EASE at its peak for each pair of items: the Gram matrix in float64 and its copies."""


@dataclass(frozen=True)
class Part:
    """Split logs: where they lie, their rows, and the catalogue and users to rank."""

    logs: Path
    frame: pl.DataFrame
    arena: Arena


@dataclass(frozen=True)
class Bench:
    """What all arms are trained and measured on.

    Attributes:
        settings: Of our model.
        choosing: Train without the drawn tenth, which is `valid`; has no test row.
        final: All of train, and `test`.
        store: Where our runs go.
        cache: Finished trials.
        size: quick, default or full.
        seed: Of everything random.
    """

    settings: Settings
    choosing: Part
    final: Part
    store: Store
    cache: Cache
    size: str
    seed: int = 0


def cut_valid(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The train rows alone, a tenth of which is drawn to be `valid`."""
    train = frame.filter(pl.col("split") == "train").sort("user_id", "item_id")
    drawn = np.random.default_rng(seed).random(train.height) < SHARE
    split = pl.when(pl.Series(drawn)).then(pl.lit("valid")).otherwise(pl.lit("train"))
    return train.with_columns(split.alias("split"))


def _part(frame: pl.DataFrame, logs: Path) -> Part:
    frame.write_parquet(logs)
    return Part(logs, frame, Arena.of(frame, DOMAIN))


def open_bench(work: Path, size: str, seed: int = 0) -> Bench:
    """The data set as one domain, cut twice, and where trials are kept."""
    source = data_folder("gowalla_m1") / "interactions.parquet"
    cache = Cache.of(work, "gowalla", data=file_digest(source), size=size, seed=seed)
    frame = pl.read_parquet(source, columns=["user_id", "item_id", "split"])
    if size == "quick":
        frame = frame.filter(pl.col("user_id").cast(pl.Int64) % 20 == 0)
        known = pl.col("split").eq("train").sum().over("item_id") >= QUICK_ROWS
        frame = frame.filter(known)
    frame = frame.with_columns(pl.lit(DOMAIN).alias("domain"))
    cache.folder.mkdir(parents=True, exist_ok=True)
    settings = Settings().with_options(
        {
            "data.split": "column",
            "model.dim": DIM,
            "train.batch_size": 2048,
            "train.negatives": 1024,
            "train.patience": 3,
            "train.seed": seed,
        }
        | ({"model.dim": 16, "train.epochs": 2, "train.threads": 1} if size == "quick" else {})
    )
    return Bench(
        settings,
        _part(cut_valid(frame, seed), cache.folder / f"choosing-{size}.parquet"),
        _part(frame, cache.folder / f"final-{size}.parquet"),
        store_of(cache),
        cache,
        size,
        seed,
    )


def recall(model: Ranker, arena: Arena, part: str) -> Any:
    """recall@20 of each user of a part, its train items taken out: float (users,)."""
    users, held = arena.held_out(part)
    return recall_of(rank_peer(model, arena, users, arena.seen(users, ("train",))), held)


def trained(bench: Bench, arm: str, trial: Any, part: Part, epochs: int) -> tuple[Ranker, int]:
    """An arm trained on a part's train rows, and the epochs its weights are of.

    Args:
        bench: Settings and store.
        arm: Its name in `TRIALS`, or `popularity`.
        trial: One of its trials.
        part: What it is trained on.
        epochs: Of our model, where they were chosen; 0 lets validation stop it.
    """
    if arm == "popularity":
        return Popular(part.arena), 0
    if arm == "mf":
        settings = bench.settings.with_options(trial)
        if epochs:
            # All of train, so there is nothing to validate on: the last epoch is kept.
            settings = settings.with_options({"train.epochs": epochs, "data.valid_share": 0.0})
        done = pretrain(settings, [part.logs], bench.store, listen=WORDS)
        return Ours(part.arena.scorer(done.base, None)), done.history.best_epoch
    if arm == "ease":
        return Ease(part.frame, trial), 0
    if arm == "item_knn":
        return ItemKnn(part.frame, *trial), 0
    peer = Ials if arm == "ials" else Bpr
    return peer(part.frame, *trial, seed=bench.seed), trial[3]


def tried(bench: Bench, arm: str, trial: Any) -> Arrays:
    """A trial's `valid` recall@20 and its `epochs`."""
    model, epochs = trained(bench, arm, trial, bench.choosing, 0)
    return {
        "valid": np.asarray(recall(model, bench.choosing.arena, "valid").mean()),
        "epochs": np.asarray(epochs),
    }


def refitted(bench: Bench, arm: str, trial: Any, epochs: int) -> Arrays:
    """What was chosen, trained on all of train: each test user's `recall`."""
    model, _ = trained(bench, arm, trial, bench.final, max(1, epochs))
    return {"recall": recall(model, bench.final.arena, "test")}


def best_of(bench: Bench, arm: str) -> Arrays:
    """The trial that is best on validation: its `valid`, its `epochs`, and `recall` on test."""
    trials = TRIALS[arm][: COUNT[bench.size]]
    best, found = chosen(bench.cache, arm, trials, lambda trial: tried(bench, arm, trial))
    epochs = int(found["epochs"])
    final = bench.cache.arm(
        f"{arm}-final",
        lambda: refitted(bench, arm, trials[best], epochs),
        trial=trials[best],
        epochs=epochs,
    )
    return {**found, **final}


def unaffordable(bench: Bench) -> str | None:
    """Why EASE is left out, or None."""
    items = len(bench.final.arena.catalogue)
    need = EASE_BYTES * items**2
    if items > LARGE and bench.size != "full":
        return f"a solve with {items:,} items takes long and {need / 2**30:.0f} GiB; see --full"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > memory:
        return f"{items:,} items take {need / 2**30:.0f} GiB, the machine has {memory / 2**30:.0f}"
    return None


def report(found: Mapping[str, Arrays], measures: Measures) -> None:
    """The table, and a row of each measure."""
    lines: list[list[object]] = []
    best = PUBLISHED[AIM]
    for arm, values in found.items():
        name = "recall_at_20" if arm == "mf" else f"{arm}_recall_at_20"
        mean = float(values["recall"].mean())
        measures.add(name, mean, "recall", f"published {AIM}", mean / best)
        lines.append([arm, float(values["valid"]), mean, mean / best])
    lines += [[f"published {name}", None, value, value / best] for name, value in PUBLISHED.items()]
    columns = ["arm", "valid", "test", f"test / {AIM}"]
    table("recall@20, full ranking, train places taken out", columns, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    size = "quick" if options.quick else "full" if options.full else "default"
    header("Gowalla (m1): matrix factorization and the peers, d = 64")
    bench = open_bench(options.work, size)
    measures = Measures()
    popular = bench.cache.arm("popularity", lambda: tried(bench, "popularity", None))
    found = {
        "popularity": {
            **popular,
            **bench.cache.arm("popularity-final", lambda: refitted(bench, "popularity", None, 0)),
        }
    }
    for arm in TRIALS:
        why = unaffordable(bench) if arm == "ease" else None
        if why is not None:
            measures.leave_out("ease_recall_at_20", why)
            continue
        found[arm] = best_of(bench, arm)
    report(found, measures)
    print("Published numbers were chosen on test.")
    print(
        f"Trials of each arm: {COUNT[size]}, chosen on a tenth of train; test was looked at once."
    )
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished trials are kept; the same command goes on from there.")
        sys.exit(130)
