"""Adapters beside full fine-tuning on XMarket: two budgets of parameters, seen and unseen markets.

    python benchmarks/quality/adaptation.py [--json FILE] [--quick | --full] [--work DIR]

Arms in each of seven markets: popularity, frozen base, the domain's bias alone, transform and
bias, LoRA within 1/20 and 1/60 of full fine-tuning's parameters, full fine-tuning of the same
rows, matrix factorization of the market alone, and pooled iALS and EASE. One shape for all markets,
chosen on validation with the first seed, as is full fine-tuning's pull to the base. Ratios are the
mean over markets of LoRA's metric ÷ that of full fine-tuning's, each first averaged over seeds. The
market alone is trained with the first seed.
The default is one seed, and one market left out of the base; --full has three seeds and leaves out
each in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if (ROOT := str(Path(__file__).resolve().parents[2])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Arrays, Measures, header, parser, say, table
from benchmarks.quality.adaptation_arms import (
    BIAS,
    QUICK_SHAPES,
    SHAPES,
    TRANSFORM,
    UNSEEN,
    Made,
    Shapes,
    Trial,
    choose,
    share_of,
    values_of,
)
from benchmarks.quality.arms import Bench, alone_mf, mean_over_seeds, peer_arms
from benchmarks.quality.protocols import METRICS, RECALL, SAMPLED
from benchmarks.quality.xmarket import (
    PUBLISHED,
    Plan,
    add_interval,
    opened,
    plan_of,
)
from lorarec.evaluation.significance import mean_over_domains, paired_bootstrap

SEEN = (
    "popularity", "base", "bias", "transform_bias", "lora", "lora_60", "full", "alone_mf", "ials",
    "ease_tuned",
)  # fmt: skip
LEFT_OUT = ("lora", "full", "alone_mf")
SUFFIXES = {"lora": "", "lora_60": "_60"}
"""Of the measures of the two budgets."""


@dataclass(frozen=True)
class Found:
    """Values of the test users by market and `<arm>_<metric>`, and what each arm trained."""

    values: dict[str, Arrays]
    made: dict[str, list[Made]]
    """By arm, one a market."""

    def mean(self, arm: str, metric: str) -> float:
        """On the mean over markets."""
        return float(np.mean([v[f"{arm}_{metric}"].mean() for v in self.values.values()]))

    def share(self, arm: str) -> float:
        """Parameters ÷ those of full fine-tuning, over all markets."""
        return share_of(self.made[arm])


def seen(bench: Bench, plan: Plan, shapes: Shapes) -> Found:
    """Every arm on bases that have seen the markets, averaged over the seeds."""
    first = plan.seeds[0]
    trials = {
        "bias": BIAS,
        "transform_bias": TRANSFORM,
        "lora": choose(bench, "lora", shapes.twentieth, first),
        "lora_60": choose(bench, "lora_60", shapes.sixtieth, first),
        "full": choose(bench, "full", shapes.full, first),
    }
    runs: list[dict[str, Arrays]] = []
    made: dict[str, list[Made]] = {arm: [] for arm in trials}
    for seed in plan.seeds:
        peers = peer_arms(bench, bench.markets, pooled=True, seed=seed)
        by_market = {}
        for market in bench.markets:
            values, sizes = values_of(bench, trials, market, seed)
            values |= alone_mf(bench, bench.seeded(first), market)
            for arm in ("ials", "ease_tuned"):
                for metric in METRICS:
                    values[f"{arm}_{metric}"] = peers[arm][f"{market}_{metric}"]
            by_market[market] = values
            for arm, one in sizes.items() if seed == first else ():
                made[arm].append(one)
        runs.append(by_market)
    means = {m: mean_over_seeds([run[m] for run in runs]) for m in bench.markets}
    for arm in ("base", "lora", "lora_60", "full"):
        for seed, run in zip(plan.seeds, runs, strict=True):
            one = Found(run, made)
            say(f"seed {seed} {arm}: {one.mean(arm, SAMPLED):.4f} / {one.mean(arm, RECALL):.4f}")
    return Found(means, made)


def unseen(bench: Bench, plan: Plan, markets: Sequence[str]) -> Found:
    """Markets left out of the base, each in turn: LoRA, full fine-tuning, the market alone."""
    trials = {"lora": UNSEEN, "full": Trial(None)}
    values: dict[str, Arrays] = {}
    made: dict[str, list[Made]] = {arm: [] for arm in trials}
    for market in markets:
        runs = []
        for seed in plan.seeds:
            found, sizes = values_of(bench, trials, market, seed, [market], bare=False)
            runs.append(found | alone_mf(bench, bench.seeded(plan.seeds[0]), market))
            for arm, one in sizes.items() if seed == plan.seeds[0] else ():
                made[arm].append(one)
        values[market] = mean_over_seeds(runs)
    return Found(values, made)


def report_arms(found: Found, arms: Sequence[str], place: str, measures: Measures) -> None:
    """A table a metric, and a row of each arm in each market."""
    markets = list(found.values)
    for metric, unit in METRICS.items():
        lines: list[list[object]] = []
        for arm in arms:
            means = [float(found.values[m][f"{arm}_{metric}"].mean()) for m in markets]
            for market, mean in zip(markets, means, strict=True):
                measures.add(f"xmarket_{place}_{market}_{arm}_{metric}", mean, unit)
            share = found.share(arm) if arm in found.made else None
            lines.append([arm, share, *means, float(np.mean(means))])
        title = f"{metric}, base has {'' if place == 'seen' else 'not '}seen the market"
        table(title, ["arm", "share", *markets, "mean"], lines)


def report_ratios(found: Found, measures: Measures) -> None:
    """The measures of a base that has seen the markets."""
    lines: list[list[object]] = []
    for arm, suffix in SUFFIXES.items():
        share = found.share(arm)
        ratios = [found.mean(arm, m) / found.mean("full", m) for m in (SAMPLED, RECALL)]
        measures.add(f"xmarket_seen_lora_over_full{suffix}", ratios[0], "ratio", "full", ratios[0])
        measures.add(f"xmarket_seen_lora_over_full_recall{suffix}", ratios[1], "ratio", "full")
        measures.add(f"xmarket_seen_parameter_share{suffix}", share, "share", "full", share)
        lines.append([arm, share, *ratios])
    table("LoRA ÷ full fine-tuning", ["arm", "parameters", *METRICS], lines)
    gain = found.mean("full", SAMPLED) - found.mean("base", SAMPLED)
    measures.add("full_minus_base", gain, "difference", "base")


def report_differences(found: Found, measures: Measures) -> None:
    """LoRA minus the others with paired intervals: on the mean, and market by market."""
    for metric in METRICS:
        rows = []
        for arm in SUFFIXES:
            for rival in ("base", "full", "ease_tuned", "ials", "alone_mf"):
                pairs = [v[f"{arm}_{metric}"] - v[f"{rival}_{metric}"] for v in _all(found)]
                name = f"xmarket_seen_{arm}_minus_{rival}"
                rows.append(add_interval(measures, name, metric, mean_over_domains(pairs), rival))
        table(
            f"{metric}: differences on the mean over the markets, paired 95 % interval",
            ["difference", "mean", "low", "high"],
            rows,
        )
    low = next(
        row["value"]
        for row in measures.rows
        if row["name"] == f"xmarket_seen_lora_minus_ease_tuned_{SAMPLED}_low"
    )
    measures.add("xmarket_mean_minus_ease_low", low, "difference", "ease_tuned")
    lines: list[list[object]] = []
    wins = 0
    for market, values in found.values.items():
        for arm in SUFFIXES:
            for rival in ("base", "ease_tuned"):
                own, other = values[f"{arm}_{SAMPLED}"], values[f"{rival}_{SAMPLED}"]
                interval = paired_bootstrap(own, other)
                wins += arm == "lora" and rival == "ease_tuned" and interval.mean > 0
                below = "below" if interval.high < 0 else ""
                name = f"{market} {arm} - {rival}"
                lines.append([name, interval.mean, interval.low, interval.high, below])
    title = f"{SAMPLED} by market, paired 95 % interval"
    table(title, ["difference", "mean", "low", "high", "clearly"], lines)
    measures.add("xmarket_wins_over_ease", wins, "markets", "ease_tuned")


def report_unseen(found: Found, measures: Measures) -> None:
    """The measures of a base that has not seen the market."""
    ratio = found.mean("lora", SAMPLED) / found.mean("full", SAMPLED)
    measures.add("xmarket_unseen_lora_over_full", ratio, "ratio", "full", ratio)
    own = [v[f"lora_{SAMPLED}"].mean() > v[f"alone_mf_{SAMPLED}"].mean() for v in _all(found)]
    measures.add("xmarket_unseen_wins_over_alone", sum(map(int, own)), "markets", "alone_mf")
    lines = [
        [market, lora.parameters - lora.grown, lora.grown, full.parameters]
        for market, lora, full in zip(
            found.values, found.made["lora"], found.made["full"], strict=True
        )
    ]
    table("Parameters, base has not seen the market", ["", "LoRA", "grown", "full"], lines)
    recall = found.mean("lora", RECALL) / found.mean("full", RECALL)
    print(
        f"\nLoRA ÷ full: nDCG {ratio:.4f}, recall {recall:.4f}; above the market alone in "
        f"{sum(own)} of {len(own)}."
    )


def _all(found: Found) -> Sequence[Mapping[str, np.ndarray]]:  # type: ignore[type-arg]
    return list(found.values.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    plan = plan_of(options.quick, options.full)
    header("XMarket electronics: adapters beside full fine-tuning, within budgets of parameters")
    bench = opened(plan, options.work)
    measures = Measures()
    found = seen(bench, plan, QUICK_SHAPES if plan.quick else SHAPES)
    report_arms(found, SEEN, "seen", measures)
    report_ratios(found, measures)
    report_differences(found, measures)
    without = plan.markets if options.full else (plan.unseen,)
    left_out = unseen(bench, plan, without)
    report_arms(left_out, LEFT_OUT, "unseen", measures)
    report_unseen(left_out, measures)
    for market in PUBLISHED:
        if market not in without:
            measures.leave_out(f"xmarket_unseen_{market}_*", "--full leaves each out in turn")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished arms are kept; the same command goes on from there.")
        sys.exit(130)
