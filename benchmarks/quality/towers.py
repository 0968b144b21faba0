"""Two towers with layers: adapters on the layers, on the tables, on both, and full fine-tuning.

    python benchmarks/quality/towers.py [--json FILE] [--quick | --full] [--work DIR]

MovieLens 1M by ZIP zone and Douban books by region, each a two-tower base with features, a history
and one layer in each tower, adapted to every domain. recall@20 by full ranking of the domain's
catalogue, train and valid items taken out. Factors have rank 8; full fine-tuning trains the touched
rows and every layer. The default is one seed and some domains of each; --full has three seeds and
all.
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
from benchmarks.quality.adaptation_arms import Made, Trial, in_every_domain, share_of
from benchmarks.quality.arms import Bench, mean_over_seeds, open_frame
from benchmarks.quality.gowalla import cut_valid
from benchmarks.quality.movielens1m import FEATURES
from benchmarks.quality.protocols import RECALL
from benchmarks.quality.regions import REGIONS
from lorarec.config import Settings
from lorarec.evaluation.significance import mean_over_domains

LAYERS = "user_tower.*,item_tower.*"
"""Of rank 8, or of the smaller side of a layer that is smaller."""
TRIALS = {
    "layers": Trial(f"{LAYERS},bias"),
    "tables": Trial("users:8,items:8,bias"),
    "both": Trial(f"users:8,items:8,{LAYERS},bias"),
    "full": Trial(None),
}
ARMS = ("popularity", "base", *TRIALS)


@dataclass(frozen=True)
class Source:
    """A data set with features, and how its base is trained."""

    name: str
    folder: str
    domains: tuple[str, ...]
    """The first `some` are the default."""
    some: int
    settings: Mapping[str, Any]


SOURCES = (
    Source(
        "movielens1m",
        "movielens1m_m1",
        ("zip8", "zip3", "zip7", "zip2", "zip6", "zip4", "zip5", "zip0", "zip1", "zip9"),
        4,
        FEATURES | {"model.temperature": 0.2, "train.epochs": 10, "model.history_power": 1.0},
    ),
    Source(
        "douban",
        "douban_book_region",
        REGIONS,
        4,
        {
            "model.name": "two-tower",
            "train.epochs": 10,
            "features.user_columns": {
                "location_id": {"kind": "categorical"},
                "domain": {"kind": "ignore"},
            },
        },
    ),
)
SHAPE = {
    "data.split": "column",
    "model.dim": 64,
    "model.layers": [64],
    "train.negatives": 1024,
    "train.patience": 2,
}
QUICK = {
    "model.dim": 16,
    "model.layers": [16],
    "train.epochs": 1,
    "train.threads": 1,
    "adapt.epochs": 1,
    "adapt.learning_rate_grid": [1.0],
}


def opened(source: Source, work: Path, quick: bool, full: bool) -> Bench:
    """One data set with its features, and where its arms are kept."""
    folder = data_folder(source.folder)
    name = f"towers-{source.name}{'-quick' if quick else ''}"
    cache = Cache.of(work, name, data=file_digest(folder / "interactions.parquet"))
    domains = source.domains[:2] if quick else source.domains[: None if full else source.some]
    columns = ["user_id", "item_id", "domain", "split"]
    frame = pl.read_parquet(folder / "interactions.parquet", columns=columns)
    if quick:
        frame = frame.filter(pl.col("domain").is_in(domains) & (pl.len().over("item_id") >= 150))
    if "valid" not in frame["split"].unique():
        frame = pl.concat([cut_valid(frame, 0), frame.filter(pl.col("split") != "train")])
    tables = {f"features.{side}": str(folder / f"{side}.parquet") for side in ("users", "items")}
    options = {**source.settings, **SHAPE, **tables, **(QUICK if quick else {})}
    return open_frame(Settings().with_options(options), frame, domains, cache, quick)


def report(
    name: str,
    values: Mapping[str, Arrays],
    made: Mapping[str, Sequence[Made]],
    measures: Measures,
) -> dict[str, float]:
    """Tables and rows of one data set; returns what is averaged over data sets."""
    means: dict[str, float] = {}
    lines: list[list[object]] = []
    for arm in ARMS:
        by_domain = {d: float(v[f"{arm}_{RECALL}"].mean()) for d, v in values.items()}
        for domain, mean in by_domain.items():
            measures.add(f"{name}_{domain}_{arm}_{RECALL}", mean, "recall")
        means[arm] = float(np.mean(list(by_domain.values())))
        pairs = [v[f"{arm}_{RECALL}"] - v[f"base_{RECALL}"] for v in values.values()]
        gap = mean_over_domains(pairs)
        share = share_of(made[arm]) if arm in made else None
        lines.append([arm, share, means[arm], gap.mean, gap.low, gap.high])
    columns = ["arm", "share", "mean", "minus base", "low", "high"]
    table(f"{name}: recall@20, mean over {len(values)} domains, paired 95 %", columns, lines)
    return {
        "tower_lora_over_full": means["both"] / means["full"],
        "tower_layers_over_full": means["layers"] / means["full"],
        "tower_tables_over_full": means["tables"] / means["full"],
        "tower_parameter_share": share_of(made["both"]),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    header("Two towers with layers: adapters on layers, tables and both")
    measures = Measures()
    found = []
    for source in SOURCES:
        bench = opened(source, options.work, options.quick, options.full)
        runs = [
            in_every_domain(bench, TRIALS, seed)
            for seed in (range(3) if options.full else range(1))
        ]
        values = {
            domain: mean_over_seeds([run[domain] for run, _ in runs]) for domain in bench.markets
        }
        found.append(report(source.name, values, runs[0][1], measures))
        for domain in [name for name in source.domains if name not in bench.markets]:
            measures.leave_out(f"{source.name}_{domain}_*", "not among this run's domains")
    for name in found[0]:
        mean = float(np.mean([one[name] for one in found]))
        measures.add(name, mean, "share" if name.endswith("share") else "ratio", "full")
        print(f"{name} {mean:.4f}")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished arms are kept; the same command goes on from there.")
        sys.exit(130)
