"""XMarket, seven markets: one base, a rank 8 adapter for each, beside the peers.

    python benchmarks/quality/xmarket.py [--json FILE] [--quick | --full] [--work DIR]

Two measures of the same artefacts: nDCG@10 among the 1 + 99 candidates of the ECIR'23 protocol
(a tie counts as a miss), and recall@20 by full ranking of the market's catalogue with the train and
valid items of the user removed. Settings are the defaults, one for all markets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from benchmarks.quality.arms import (
    Bench,
    mean_over_seeds,
    open_bench,
    our_arms,
    peer_arms,
    unseen_arms,
)
from benchmarks.quality.protocols import METRICS, RECALL, SAMPLED
from lorarec.config import Settings
from lorarec.evaluation.significance import Interval, mean_over_domains, paired_bootstrap

PUBLISHED = {
    "de": 0.3442, "jp": 0.2212, "in": 0.4796, "fr": 0.3271, "ca": 0.3178, "mx": 0.5590,
    "uk": 0.4702,
}  # fmt: skip
"""Best published nDCG@10 of the protocol (Bhargav et al., ECIR 2023)."""
ARMS = ("popularity", "ials", "ease", "ease_tuned", "base", "lora", "full")
RIVALS = ("base", "ials", "ease", "ease_tuned", "full")
ALONE = ("alone_mf", "alone_ease", "alone_ease_tuned")
TITLES = {
    SAMPLED: "nDCG@10 among 100 candidates (ECIR'23), test",
    RECALL: "recall@20, full ranking of the market's catalogue, seen items removed, test",
}
SPLIT = {"data.split": "column", "data.columns.split": "split_ecir23"}
QUICK_SETTINGS = {
    "model.dim": 16,
    "train.epochs": 3,
    "train.threads": 1,
    "adapt.epochs": 3,
}
"""Enough to see that everything runs; what it finds says nothing."""


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    markets: tuple[str, ...] = tuple(PUBLISHED)
    unseen: str = "de"
    seeds: tuple[int, ...] = (0,)
    quick: bool = False

    def settings(self) -> Settings:
        """The defaults but for where the split is."""
        return Settings().with_options(SPLIT | (QUICK_SETTINGS if self.quick else {}))


def plan_of(quick: bool, full: bool) -> Plan:
    """The plan of the options."""
    if quick:
        return Plan(markets=("jp", "in"), unseen="jp", quick=True)
    return Plan(seeds=(0, 1, 2)) if full else Plan()


def opened(plan: Plan, work: Path) -> Bench:
    """The data of a plan and where its arms are kept."""
    folder = data_folder("xmarket_electronics")
    logs, lists = folder / "interactions.parquet", folder / "candidates_ecir23.parquet"
    data = [file_digest(logs), file_digest(lists)]
    cache = Cache.of(work, "xmarket-quick" if plan.quick else "xmarket", data=data)
    if plan.quick:
        logs = cache.folder / "interactions.parquet"
        logs.parent.mkdir(parents=True, exist_ok=True)
        rows = pl.read_parquet(folder / "interactions.parquet")
        rows.filter(pl.col("domain").is_in(list(plan.markets))).write_parquet(logs)
    return open_bench(plan.settings(), logs, lists, plan.markets, cache, plan.quick)


def market_arms(bench: Bench, seed: int) -> dict[str, Arrays]:
    """Every arm's values of every user: by market, `<arm>_<measure>`."""
    found: dict[str, Arrays] = {market: our_arms(bench, market, seed) for market in bench.markets}
    for arm, values in peer_arms(bench, bench.markets, pooled=True, seed=seed).items():
        for market in bench.markets:
            for metric in METRICS:
                found[market][f"{arm}_{metric}"] = values[f"{market}_{metric}"]
    return found


def add_interval(
    measures: Measures, name: str, metric: str, interval: Interval, peer: str
) -> tuple[str, float, float, float]:
    """Rows of a difference and its interval; returns the line of a table."""
    ends = {"": interval.mean, "_low": interval.low, "_high": interval.high}
    for suffix, value in ends.items():
        measures.add(f"{name}_{metric}{suffix}", value, "difference", peer)
    return (name.replace("_", " "), *ends.values())


def report_markets(values: Mapping[str, Arrays], measures: Measures) -> None:
    """Tables and rows of every arm in every market, and of LoRA minus the others on the mean."""
    markets = list(values)
    for metric, unit in METRICS.items():
        lines: list[list[object]] = []
        if metric == SAMPLED:
            best = [PUBLISHED[market] for market in markets]
            lines.append(["published best", *best, float(np.mean(best))])
        for arm in ARMS:
            means = [float(values[market][f"{arm}_{metric}"].mean()) for market in markets]
            for market, mean in zip(markets, means, strict=True):
                against = PUBLISHED[market] if metric == SAMPLED else None
                peer = None if against is None else "published best"
                ratio = None if against is None else mean / against
                measures.add(f"{market}_{arm}_{metric}", mean, unit, peer, ratio)
            measures.add(f"mean_{arm}_{metric}", float(np.mean(means)), unit)
            lines.append([arm, *means, float(np.mean(means))])
        table(TITLES[metric], ["arm", *markets, "mean"], lines)
    for metric in METRICS:
        rows = []
        for rival in RIVALS:
            pairs = [v[f"lora_{metric}"] - v[f"{rival}_{metric}"] for v in values.values()]
            name = f"mean_lora_minus_{rival}"
            rows.append(add_interval(measures, name, metric, mean_over_domains(pairs), rival))
        table(
            f"{metric}: differences on the mean over {len(markets)} markets, paired 95 % interval",
            ["difference", "mean", "low", "high"],
            rows,
        )
    won = [m for m in markets if values[m][f"lora_{SAMPLED}"].mean() > PUBLISHED[m]]
    print(f"\nLoRA is above the published best in {len(won)} of {len(markets)} markets", end="")
    print(f": {', '.join(won)}." if won else ".")
    measures.add("lora_wins_over_published_markets", len(won), "markets", "published best")


def report_seeds(runs: Mapping[int, Mapping[str, Arrays]], measures: Measures) -> None:
    """Our arms and iALS by seed, on the mean over markets."""
    lines = []
    for arm in ("ials", "base", "lora", "full"):
        for metric, unit in METRICS.items():
            means = []
            for seed, values in runs.items():
                by_market = [float(v[f"{arm}_{metric}"].mean()) for v in values.values()]
                means.append(float(np.mean(by_market)))
                measures.add(f"mean_{arm}_{metric}_seed_{seed}", means[-1], unit)
            lines.append([f"{arm} {metric}", *means])
    table("By seed, mean over the markets", ["arm", *(f"seed {s}" for s in runs)], lines)


def report_unseen(market: str, values: Arrays, measures: Measures) -> None:
    """Tables and rows of a market that the base never saw."""
    arms = ("lora", *ALONE)
    lines: list[list[object]] = []
    for arm in arms:
        means = {metric: float(values[f"{arm}_{metric}"].mean()) for metric in METRICS}
        for metric, mean in means.items():
            measures.add(f"unseen_{market}_{arm}_{metric}", mean, METRICS[metric])
        lines.append([arm, *means.values()])
    table(f"{market}, kept out of the base (--exclude-domain {market})", ["arm", *METRICS], lines)
    rows = []
    for metric in METRICS:
        for rival in ALONE:
            interval = paired_bootstrap(values[f"lora_{metric}"], values[f"{rival}_{metric}"])
            name = f"unseen_{market}_lora_minus_{rival}"
            line = add_interval(measures, name, metric, interval, rival)
            rows.append((f"{line[0]}, {metric}", *line[1:]))
    table("differences, paired 95 % interval", ["difference", "mean", "low", "high"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    plan = plan_of(options.quick, options.full)
    header("XMarket electronics: one base, a rank 8 adapter a market, and the peers")
    bench = opened(plan, options.work)
    measures = Measures()
    runs = {seed: market_arms(bench, seed) for seed in plan.seeds}
    means = {m: mean_over_seeds([run[m] for run in runs.values()]) for m in plan.markets}
    report_markets(means, measures)
    if len(runs) > 1:
        report_seeds(runs, measures)
    unseen = [unseen_arms(bench, plan.unseen, seed) for seed in plan.seeds]
    report_unseen(plan.unseen, mean_over_seeds(unseen), measures)
    print()
    for market in PUBLISHED:
        if market not in plan.markets:
            measures.leave_out(f"{market}_*", "--quick takes jp and in alone")
    if plan.unseen != "de":
        measures.leave_out("unseen_de_*", f"--quick keeps {plan.unseen} out instead")
    if not options.full:
        measures.leave_out("*_seed_*", "one seed; --full takes three")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished arms are kept; the same command goes on from there.")
        sys.exit(130)
