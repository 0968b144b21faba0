"""Douban books by where the reader lives: adapters for regions that share a catalogue.

    python benchmarks/quality/regions.py [--json FILE] [--quick | --full] [--work DIR]

recall@20 by full ranking of the region's catalogue, the user's train and valid books taken out.
The publishers of the split have no valid part: a tenth of train is drawn to choose everything on,
and no arm is trained on it. One base over all regions, d = 64; adapters of rank 8, all defaults,
one shape everywhere. The default is one seed and the nine smallest named regions; --full has three
seeds and all eleven.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from benchmarks.quality.adaptation_arms import (
    BIAS,
    TRANSFORM,
    UNSEEN,
    Made,
    Trial,
    in_every_domain,
    share_of,
)
from benchmarks.quality.arms import Bench, alone_mf, mean_over_seeds, open_frame, peer_arms
from benchmarks.quality.gowalla import cut_valid
from benchmarks.quality.protocols import RECALL
from lorarec.config import Settings
from lorarec.evaluation.significance import Interval, mean_over_domains, paired_bootstrap

REGIONS = (
    "loc_32", "loc_68", "loc_105", "loc_309", "loc_421", "loc_162", "loc_314", "loc_11", "loc_13",
    "loc_373", "loc_33",
)  # fmt: skip
"""With a name, the smallest first; two more groups of readers are in the base alone."""
TRIALS = {
    "bias": BIAS,
    "transform_bias": TRANSFORM,
    "lora": UNSEEN,
    "full": Trial(None),
}
SETTINGS = {"data.split": "column", "model.dim": 64, "train.negatives": 1024}
QUICK = {"model.dim": 16, "train.epochs": 2, "train.threads": 1, "adapt.epochs": 2}
ARMS = ("popularity", "base", *TRIALS, "alone_mf", "ials", "ease_tuned")
SEED = 0
"""Of the drawn valid part."""


def opened(work: Path, quick: bool, full: bool) -> Bench:
    """The data set with a valid part, and where its arms are kept."""
    source = data_folder("douban_book_region") / "interactions.parquet"
    name = "regions-quick" if quick else "regions"
    cache = Cache.of(work, name, data=file_digest(source))
    frame = pl.read_parquet(source, columns=["user_id", "item_id", "domain", "split"])
    regions = REGIONS[:2] if quick else REGIONS if full else REGIONS[:9]
    if quick:
        frame = frame.filter(pl.col("domain").is_in(regions) & (pl.len().over("item_id") >= 150))
    test = frame.filter(pl.col("split") != "train")
    frame = pl.concat([cut_valid(frame, SEED), test])
    settings = Settings().with_options(SETTINGS | (QUICK if quick else {}))
    return open_frame(settings, frame, regions, cache, quick)


def region_arms(bench: Bench, seed: int) -> tuple[dict[str, Arrays], dict[str, list[Made]]]:
    """Every arm's values of every user by region, and what was trained."""
    peers = peer_arms(bench, bench.markets, pooled=True, seed=seed)
    found, made = in_every_domain(bench, TRIALS, seed)
    for region, values in found.items():
        values |= alone_mf(bench, bench.seeded(0), region)
        for arm in ("ials", "ease_tuned"):
            values[f"{arm}_{RECALL}"] = peers[arm][f"{region}_{RECALL}"]
    return found, made


def report(
    values: Mapping[str, Arrays], made: Mapping[str, Sequence[Made]], measures: Measures
) -> None:
    """Tables, a row of each arm in each region, and what is asked for of the mean."""
    regions = list(values)
    means: dict[str, float] = {}
    lines: list[list[object]] = []
    for arm in ARMS:
        by_region = [float(values[r][f"{arm}_{RECALL}"].mean()) for r in regions]
        for region, mean in zip(regions, by_region, strict=True):
            measures.add(f"douban_{region}_{arm}_{RECALL}", mean, "recall")
        means[arm] = float(np.mean(by_region))
        share = share_of(made[arm]) if arm in made else None
        lines.append([arm, share, means[arm], min(by_region), max(by_region)])
    table("recall@20, full ranking", ["arm", "share", "mean", "lowest", "highest"], lines)
    ratio = means["lora"] / means["full"]
    measures.add("douban_lora_over_full", ratio, "ratio", "full", ratio)
    measures.add("douban_parameter_share", share_of(made["lora"]), "share", "full")
    rows = []
    for rival in ("base", "full", "alone_mf", "ials", "ease_tuned"):
        pairs = [v[f"lora_{RECALL}"] - v[f"{rival}_{RECALL}"] for v in values.values()]
        rows.append(_line(f"lora minus {rival}", mean_over_domains(pairs)))
    for region, own in values.items():
        gap = paired_bootstrap(own[f"lora_{RECALL}"], own[f"base_{RECALL}"])
        rows.append(_line(f"{region} lora minus base", gap))
    title = "differences on the mean over regions, then region by region; paired 95 % interval"
    table(title, ["difference", "mean", "low", "high"], rows)


def _line(name: str, gap: Interval) -> list[object]:
    return [name, gap.mean, gap.low, gap.high]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    header("Douban books: one base, an adapter a region, and the peers")
    bench = opened(options.work, options.quick, options.full)
    runs = [region_arms(bench, seed) for seed in (range(3) if options.full else range(1))]
    values = {region: mean_over_seeds([run[region] for run, _ in runs]) for region in bench.markets}
    measures = Measures()
    report(values, runs[0][1], measures)
    for region in REGIONS:
        if region not in bench.markets:
            measures.leave_out(f"douban_{region}_*", "not among this run's regions")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished arms are kept; the same command goes on from there.")
        sys.exit(130)
